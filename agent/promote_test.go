package agent_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// promotable opens a session with what is prepared for all, and with secrets.
func (r *ready) promotable(t *testing.T, id string, uid int, change ...func(*agent.Session)) {
	t.Helper()
	s := agent.Session{
		ID: id, UID: uid, Dir: "small", URL: r.url, Proven: true, Image: "sha256:one",
		Prepare: agent.Prepare{Files: []string{"lock"}, Dirs: []string{"pkg/cache"}},
		Env:     map[string]string{"TOKEN": "https://me:hunter2hunter2@proxy", "MODE": "production", "SHORT": "abc"},
	}
	for _, f := range change {
		f(&s)
	}
	if _, err := r.Open(testContext(t), s); err != nil {
		t.Fatal(err)
	}
}

// promotes asks for a promotion, and returns what happened in words.
func (r *ready) promotes(t *testing.T, id string) string {
	t.Helper()
	made, err := r.Promote(testContext(t), agent.Promotion{Session: id, Env: map[string]string{"MODE": "production"}}, nil)
	switch {
	case errors.Is(err, agent.ErrNotPromoted):
		return err.Error()
	case err != nil:
		t.Fatal(err)
	case made.Made && made.Took > 0 && made.Bytes > 0 && made.Commit != "" && made.Size > made.Bytes:
		return "made"
	}
	return made.Unshared
}

// TestAPromotedLayerHasWhatTheSessionHasAdded, and nothing that its commit has, whatever the session did to that. The session goes on.
func TestAPromotedLayerHasWhatTheSessionHasAdded(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := startOn(t, agenttest.Start(t, "-refuse-checkouts"))
		r.withLock("one")
		r.fetch(t, agent.Fetch{})
		r.promotable(t, "s", 10001)
		const work = `(while :; do echo; sleep 0.01; done) > /dev/null 2>&1 & mkdir -p ~/pkg/cache dep/x deep/own && echo production > ~/pkg/cache/p && cp lock dep/x/copy && ln -s /usr/bin/env dep/env &&
			touch lock && echo u > deep/own/u && echo changed > deep/file && rm -r gone && ln -s / gone && echo secret-of-mine > ~/other && git add dep`
		if out, exit := r.run(t, "s", work); exit.Code != 0 {
			t.Fatal(out, exit)
		}
		for range 2 { // the second takes the place of the first
			if got := r.promotes(t, "s"); got != "made" {
				t.Fatal(got)
			}
			const want = "checkout/deep checkout/deep/own checkout/deep/own/u checkout/dep checkout/dep/env checkout/dep/x checkout/dep/x/copy dir0/p"
			if got := r.preparedFiles(t); got != want {
				t.Errorf("the layer has\n%s\nwant\n%s", got, want)
			}
		}
		if out, _ := r.run(t, "s", "cat deep/own/u; ps -o stat= -u $(id -u) | grep -c T"); !strings.HasPrefix(out, "u\n") || strings.HasSuffix(out, "\n1\n") {
			t.Errorf("the session goes on with %q", out)
		}
		if got := r.prepares(t, "", "true", func(p *agent.Preparation) {
			p.Prepare = agent.Prepare{Run: [][]string{{"true"}}, Files: []string{"lock"}}
		}); got != "made" {
			t.Errorf("a preparation by commands: %s", got)
		}
		r.agent.Restart()
		if names, _ := os.ReadDir(r.agent.Inside(r.agent.Dir + "/mirror/.prepared")); len(names) != 2 {
			t.Errorf("after a start of the agent, there are %d layers", len(names))
		}
	})
}

// TestWhatIsNotPromoted: each error names the file, and holds nothing that is secret. No layer is left.
func TestWhatIsNotPromoted(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := startOn(t, agenttest.Start(t, "-refuse-checkouts"))
		r.withLock("one")
		r.fetch(t, agent.Fetch{})
		for n, c := range []struct{ work, want string }{
			{`mkdir -p dep/x; echo "x $TOKEN y" > dep/x/f`, `"dep/x/f": it has the value of TOKEN`},
			{`mkdir dep; printf 'me:%s' hunter2hunter2 | base64 > dep/f`, `"dep/f": it has the password in the value of TOKEN`},
			{`mkdir -p ~/pkg/cache; echo hunter2hunter2 > ~/pkg/cache/f`, `"~/pkg/cache/f": it has the password in`},
			{`mkdir dep; touch dep/hunter2hunter2`, `"dep/...": its name has the password`},
			{`ln -s /hunter2hunter2 link`, `"link": its target has the password`},
			{`mkdir dep; echo own-of-command > dep/f`, `"dep/f": it has the value of OWN`},
			{`mkdir ~/.ssh; echo my-private-key > ~/.ssh/k; cat ~/.ssh/k > f`, `"f": it has the content of \"~/.ssh/k\"`},
			{`echo "machine x login y password 0123456789abcdef" > ~/.netrc; echo t=0123456789abcdef > f`, `"f": it has the content of \"~/.netrc\"`},
			{`echo x > .npmrc`, `".npmrc": its name is that of a file with credentials`},
			{`ln -s ~/.profile link`, `"link": it leads to a file of the session`},
			{`echo two >> lock`, `"lock", which decides what is installed, is not that`},
			{`rm lock`, `"lock", which decides`},
			{`rm ../.index; echo x > f`, `not known any more with which files`},
			{`head -c 3M /dev/zero > zero`, `larger than MaxBytes`},
			{`touch .wh.x`, `".wh."`},
		} {
			id, uid := "s", 10001+n
			r.git.Commit("small", map[string]string{"n": id + c.want}) // whose files are not ready, so that git writes them
			r.fetch(t, agent.Fetch{})
			r.promotable(t, id, uid, func(s *agent.Session) { s.Prepare.MaxBytes = 2 << 20 })
			var out strings.Builder
			p, err := r.Start(testContext(t), agent.Command{Session: id, Args: []string{"sh", "-c", c.work}, Env: []string{"OWN=own-of-command"}, Stdout: &out, Stderr: &out})
			if err != nil {
				t.Fatal(err)
			}
			if exit, err := p.Wait(); err != nil || exit.Code != 0 {
				t.Fatal(c.work, out.String(), exit, err)
			}
			got := r.promotes(t, id)
			if !strings.Contains(strings.ReplaceAll(got, `\"`, `"`), strings.ReplaceAll(c.want, `\"`, `"`)) || strings.Contains(got, "hunter2") {
				t.Errorf("%s:\n%s\nwant\n%s", c.work, got, c.want)
			}
			if err := r.CloseSession(testContext(t), id, uid); err != nil {
				t.Fatal(err)
			}
			if got := r.preparedFiles(t); got != "" {
				t.Errorf("%s: a layer has %s", c.work, got)
			}
		}
		r.git.Commit("small", map[string]string{"n": "bare"})
		r.fetch(t, agent.Fetch{})
		r.promotable(t, "bare", 10100, func(s *agent.Session) { s.Bare = true })
		if got := r.promotes(t, "bare"); !strings.Contains(got, "or with a snapshot") {
			t.Error(got)
		}
		r.git.Commit("small", map[string]string{"n": "slow"})
		r.fetch(t, agent.Fetch{})
		r.promotable(t, "slow", 10101, func(s *agent.Session) { s.Prepare.Timeout = time.Nanosecond })
		if got := r.promotes(t, "slow"); !strings.Contains(got, "it took longer") {
			t.Error(got)
		}
		if _, err := r.Promote(testContext(t), agent.Promotion{Session: "none"}, nil); !errors.Is(err, agent.ErrUnknownSession) {
			t.Errorf("an unknown session: %v", err)
		}
	})
}
