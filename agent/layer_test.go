package agent_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// TestALayerMovesToAnotherContainer, and is there what it was. What is not whole, or for no session, leaves nothing.
func TestALayerMovesToAnotherContainer(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := startOn(t, agenttest.Start(t, "-refuse-checkouts"))
		r.withLock("one")
		first := r.git.Git("small", "rev-parse", "HEAD")
		r.git.Commit("small", map[string]string{"more": "x"})
		r.fetch(t, agent.Fetch{})
		if got := r.prepares(t, "", install); got != "made" {
			t.Fatal(got)
		}
		want := r.preparedFiles(t)
		look := agent.Preparation{
			URL: r.url, Dir: "small", Image: "sha256:one", Look: true,
			Prepare: agent.Prepare{Run: [][]string{{"true"}, {"sh", "-c", install}}, Files: []string{"lock"}, Dirs: []string{"pkg/cache", "none"}},
		}
		there, err := r.Prepare(testContext(t), look, nil)
		if err != nil || there.Commit == "" || len(there.Key) != 32 || there.Made {
			t.Fatalf("%+v, %v", there, err)
		}
		var stream bytes.Buffer
		if err := agent.ReadLayer(testContext(t), r.Client, there.Key, there.Commit, &stream); err != nil {
			t.Fatal(err)
		}
		if err := agent.ReadLayer(testContext(t), r.Client, there.Key, first, io.Discard); !errors.Is(err, agent.ErrNoLayer) {
			t.Errorf("another layer: %v", err)
		}
		full := errors.New("full")
		if err := agent.ReadLayer(testContext(t), r.Client, there.Key, there.Commit, failingWriter{full}); !errors.Is(err, full) {
			t.Errorf("a writer that fails: %v", err)
		}

		other := startOn(t, agenttest.Start(t, "-refuse-checkouts"))
		other.url = r.url
		other.fetch(t, agent.Fetch{})
		if got, err := other.Prepare(testContext(t), look, nil); err != nil || got.Commit != "" || got.Key != there.Key {
			t.Errorf("another container has %+v, %v", got, err)
		}
		put := func(branch string, in io.Reader) (agent.Prepared, error) {
			return agent.WriteLayer(testContext(t), other.Client, agent.Offer{Key: there.Key, Branch: branch}, in)
		}
		whole := func() io.Reader { return bytes.NewReader(stream.Bytes()) }
		cut := errors.New("cut off")
		if made, err := put("", io.MultiReader(whole(), iotest.ErrReader(cut))); !errors.Is(err, cut) || made.Made {
			t.Errorf("a stream that fails at its end: %+v, %v", made, err)
		}
		for name, in := range map[string]io.Reader{
			"half": bytes.NewReader(stream.Bytes()[:stream.Len()/2]), "nothing": strings.NewReader(""), "more": io.MultiReader(whole(), strings.NewReader("x")),
			"another": strings.NewReader("{\"commit\":\"../../x\"}\n"),
		} {
			if made, err := put("", in); err == nil || made.Made {
				t.Errorf("%s: %+v, %v", name, made, err)
			}
		}
		if made, err := put(first, whole()); err != nil || made.Made || made.Commit != "" {
			t.Errorf("of a commit that comes later: %+v, %v", made, err)
		}
		if got := other.preparedFiles(t); got != "" {
			t.Errorf("the other container has %s", got)
		}
		if made, err := put("", whole()); err != nil || !made.Made || made.Commit != there.Commit || made.Bytes == 0 || made.Size <= made.Bytes {
			t.Errorf("%+v, %v", made, err)
		}
		if got := other.preparedFiles(t); got != want {
			t.Errorf("the other container has\n%s\nwant\n%s", got, want)
		}
		if got := other.prepares(t, "", install); got != "there" {
			t.Errorf("the other container says %s", got)
		}
		other.agent.Restart()
		if got := other.preparedFiles(t); got != want {
			t.Errorf("after a start of the agent, it has %s", got)
		}
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
