package credential

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// result is what Ask returns.
type result struct {
	answer wire.Answer
	err    error
	after  time.Duration
}

func ask(ctx context.Context, d *Desk) chan result {
	ended, begun := make(chan result, 1), time.Now()
	go func() {
		a, err := d.Ask(ctx, wire.Question{URL: "https://x.example/y"})
		ended <- result{a, err, time.Since(begun)}
	}()
	synctest.Wait()
	return ended
}

func TestAQuestionThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(Desk)
		got := <-ask(t.Context(), d)
		if !errors.Is(got.err, ErrNobody) || got.after < patience || got.after > patience*3/2 {
			t.Errorf("%+v", got)
		}
		late := ask(t.Context(), d) // a client that is connecting again finds it
		time.Sleep(patience / 2)
		taken := d.Take(t.Context(), "a", 0)
		if len(taken) != 1 {
			t.Fatalf("taken: %+v", taken)
		}
		d.Answer(taken[0].ID, wire.Answer{Username: "me"})
		d.Answer(taken[0].ID, wire.Answer{Username: "another"})
		if got := <-late; got.err != nil || got.answer.Username != "me" {
			t.Errorf("%+v", got)
		}
		d.Answer(taken[0].ID, wire.Answer{}) // too late
	})
}

func TestAQuestionThatIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := map[string]bool{}
		d := &Desk{Away: func(client string) time.Duration {
			if away[client] {
				return time.Second
			}
			return 0
		}}
		ended := ask(t.Context(), d)
		first := d.Take(t.Context(), "a", 0)
		if len(first) != 1 {
			t.Fatalf("taken: %+v", first)
		}
		begun := time.Now()
		if none := d.Take(t.Context(), "b", 0); none != nil || time.Since(begun) != wire.Poll {
			t.Errorf("another client got %+v after %v", none, time.Since(begun))
		}
		again := d.Take(t.Context(), "b", 0)
		if since := time.Since(begun); len(again) != 1 || since < overdue || since > overdue+2*time.Second {
			t.Errorf("another client got %+v after %v", again, since)
		}
		away["b"] = true
		if third := d.Take(t.Context(), "a", again[0].Number); len(third) != 1 || third[0].Number <= again[0].Number {
			t.Errorf("when the second is away, the first got %+v", third)
		}
		for range 10 { // it takes questions and answers none
			d.Take(t.Context(), "a", 1<<60)
		}
		if got := <-ended; got.err != errNoAnswer {
			t.Errorf("%+v", got)
		}
	})
}

func TestAGitThatIsKilledAsksNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(Desk)
		ctx, cancel := context.WithCancel(t.Context())
		ended := ask(ctx, d)
		cancel()
		if got := <-ended; !errors.Is(got.err, context.Canceled) || refusal(got.err) != "the session has ended" {
			t.Errorf("%+v", got)
		}
		if some := d.Take(t.Context(), "a", 0); some != nil {
			t.Errorf("taken: %+v", some)
		}
	})
}

func TestVerb(t *testing.T) {
	for line, want := range map[string]string{
		"git push origin main":                      "push",
		"/usr/bin/git -C dir -c a=b push -q":        "push",
		"/usr/lib/git-core/git-remote-https origin": "remote-https",
		"git remote-https origin https://x/y":       "remote-https",
		"git-lfs pre-push origin":                   "pre-push",
		"git lfs push origin":                       "push",
		"git fetch push":                            "fetch",
		"sh -c git push":                            "",
		"":                                          "",
		"git":                                       "",
	} {
		if got := verb(strings.Split(line, " ")); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestWhatGitAsksFor(t *testing.T) {
	for text, want := range map[string]wish{
		"protocol=https\nhost=x.example:8443\npath=a/b.git\nusername=me\n\nhost=other\n":             {url: "https://x.example:8443/a/b.git"},
		"protocol=http\nhost=x.example\nwwwauth[]=Basic realm=\"x\"\n":                               {url: "http://x.example"},
		"capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=x.example\n":                {url: "https://x.example", again: true},
		"capability[]=state\nprotocol=https\nhost=x.example\nstate[]=a.b=9\nstate[]=berth.tries=1\n": {url: "https://x.example", again: true, tries: 1},
		"protocol=cert\nhost=\npath=/x\n":                                                            {},
		"":                                                                                           {},
	} {
		if got := read(strings.NewReader(text)); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

// TestTheHelper: a git that can ask again within a push is told to, but not for ever.
func TestTheHelper(t *testing.T) {
	dir, desk := t.TempDir(), new(Desk)
	office, err := Open(desk, dir, "s", os.Getuid(), func(wire.Answer) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(office.Close)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chdir(here) })
	var rejected []bool
	helped := func(state, username string) string {
		t.Helper()
		answering := make(chan struct{})
		go func() {
			defer close(answering)
			for _, q := range desk.Take(t.Context(), "a", 0) {
				rejected = append(rejected, q.Rejected)
				desk.Answer(q.ID, wire.Answer{Username: username, Password: "right"})
			}
		}()
		var out strings.Builder
		if err := Helper(dir, "get", strings.NewReader(state+"protocol=https\nhost=x.example\n\n"), &out); err != nil {
			out.WriteString(err.Error())
		}
		<-answering
		return out.String()
	}
	const plain = "username=me\npassword=right\n"
	for state, want := range map[string]string{
		"":                     plain,
		"capability[]=state\n": "capability[]=state\nstate[]=berth.tries=1\ncontinue=1\n" + plain,
		"capability[]=state\nstate[]=berth.tries=1\n":    "capability[]=state\nstate[]=berth.tries=2\ncontinue=1\n" + plain,
		"capability[]=state\nstate[]=berth.tries=2\n":    plain,
		"capability[]=authtype\nstate[]=other.tries=2\n": plain,
	} {
		rejected = nil
		if got := helped(state, "me"); got != want || len(rejected) != 1 || rejected[0] != strings.Contains(state, "berth") {
			t.Errorf("%q: %q, rejected: %v", state, got, rejected)
		}
	}
	if got := helped("", "a\nhost=evil"); strings.Contains(got, "right") || !strings.HasPrefix(got, "quit=1\n") {
		t.Errorf("a line break: %q", got)
	}
	if err := Helper(dir, "erase", strings.NewReader("protocol=https\nhost=x.example\n\n"), io.Discard); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(time.Minute); ; { // erase does not wait until it is noted
		rejected = nil
		if helped("", "me"); len(rejected) == 1 && rejected[0] || time.Now().After(deadline) {
			break
		}
	}
	if len(rejected) != 1 || !rejected[0] {
		t.Errorf("after a refusal, rejected: %v", rejected)
	}
	office.Close()
	if err := Helper(dir, "get", strings.NewReader("protocol=https\nhost=x.example\n\n"), io.Discard); err == nil {
		t.Error("after the session's end, there is an answer")
	}
}
