package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// private returns an agent without a mirror, and a remote that wants the password "right".
func private(t *testing.T) *ready {
	a := agenttest.Start(t)
	r := &ready{Client: a.Client(agent.ClientOptions{}), agent: a, git: agenttest.NewGitServer(t)}
	r.url = r.git.Repo("small", map[string]string{"README.md": "hello\n"})
	r.git.Password = "right"
	return r
}

// guest opens a session that has proven nothing.
func (r *ready) guest(t *testing.T, id string, uid int) error {
	t.Helper()
	_, err := r.Open(testContext(t), agent.Session{ID: id, UID: uid, Dir: "x", URL: r.url})
	return err
}

func refused(err error) bool {
	var failed *agent.GitError
	return errors.As(err, &failed) && (strings.Contains(failed.Message, "could not read ") || strings.Contains(failed.Message, "Authentication failed"))
}

func TestAPrivateMirrorNeedsAProof(t *testing.T) {
	r := private(t)
	if m := r.fetch(t, agent.Fetch{Username: "me", Password: "right", Prove: true}); !m.Private || !m.Proven || !m.Cold {
		t.Errorf("the first fetch: %+v", m)
	}
	check := func(when string) {
		t.Helper()
		asked := r.git.Requests()
		if err := r.guest(t, "guest", 10001); !errors.Is(err, agent.ErrProofRequired) {
			t.Errorf("%s: a session without a proof: %v", when, err)
		}
		if m := r.fetch(t, agent.Fetch{MaxAge: time.Hour}); !m.Private || m.Proven || m.Fetched {
			t.Errorf("%s: a fetch that wants no proof: %+v", when, m)
		}
		if n := r.git.Requests() - asked; n != 0 {
			t.Errorf("%s: the remote was asked %d times", when, n)
		}
		for name, f := range map[string]agent.Fetch{
			"no credential": {}, "a wrong credential": {Username: "me", Password: "wrong"}, "a wrong user": {Username: "right"},
		} {
			for _, branch := range []string{"", "main", "no-such-branch"} { // what there is, is not told
				f.URL, f.Prove, f.MaxAge, f.Branch = r.url, true, time.Hour, branch
				if m, err := r.Fetch(testContext(t), f, nil); !refused(err) || m != (agent.Mirror{}) {
					t.Errorf("%s: %s, branch %q: %+v, %v", when, name, branch, m, err)
				}
			}
		}
		if m := r.fetch(t, agent.Fetch{Username: "you", Password: "right", Prove: true, MaxAge: time.Hour}); !m.Private || !m.Proven || m.Fetched {
			t.Errorf("%s: the right credential of another: %+v", when, m)
		}
		open := agent.Session{ID: "s", UID: 10002, Dir: "x", URL: r.url, Proven: true}
		if _, err := r.Open(testContext(t), open); err != nil {
			t.Errorf("%s: a session with a proof: %v", when, err)
		}
		if entries, err := os.ReadDir(r.agent.Inside(filepath.Join(r.agent.Dir, "sessions"))); err != nil || len(entries) != 1 {
			t.Errorf("%s: %v, %v: more than the session with a proof", when, entries, err)
		}
	}
	check("at first")
	r.agent.Restart()
	r.Client = r.agent.Client(agent.ClientOptions{})
	check("after a restart")
	r.git.Password = "" // the remote gives it to everybody now
	if m := r.fetch(t, agent.Fetch{Prove: true}); !m.Private || !m.Proven {
		t.Errorf("an anonymous fetch: %+v; what the mirror had before is private", m)
	}
	if err := r.guest(t, "guest", 10001); !errors.Is(err, agent.ErrProofRequired) {
		t.Errorf("a session without a proof: %v", err)
	}
}

// TestAPublicMirrorNeedsNone: the remote is asked for nothing but the fetch, even if requests have credentials.
func TestAPublicMirrorNeedsNone(t *testing.T) {
	r := private(t)
	r.git.Password = ""
	if m := r.fetch(t, agent.Fetch{Username: "me", Password: "token", Prove: true}); m.Private || m.Proven {
		t.Errorf("the first fetch: %+v", m)
	}
	asked := r.git.Requests()
	for i, f := range []agent.Fetch{{}, {Username: "me", Password: "other"}} {
		f.Prove, f.MaxAge = true, time.Hour
		if m := r.fetch(t, f); m.Private || m.Proven || m.Fetched {
			t.Errorf("%d: %+v", i, m)
		}
		if err := r.guest(t, string(rune('a'+i)), 10001+i); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if n := r.git.Requests() - asked; n != 0 {
		t.Errorf("the remote was asked %d times", n)
	}
}

// TestAMirrorDoesNotBecomePrivateUnderAGuest: a session that has proven nothing would see what a credential fetches.
func TestAMirrorDoesNotBecomePrivateUnderAGuest(t *testing.T) {
	r := start(t)
	if err := r.guest(t, "guest", 10001); err != nil {
		t.Fatal(err)
	}
	r.git.Password = "right"
	r.git.Commit("small", map[string]string{"secret": "secret\n"})
	f := agent.Fetch{URL: r.url, Username: "me", Password: "right", Prove: true}
	_, err := r.Fetch(testContext(t), f, nil)
	if err == nil || !strings.Contains(err.Error(), "sessions that have not proven access") || strings.Contains(err.Error(), "right") {
		t.Errorf("a guest is there: %v", err)
	}
	if err := r.guest(t, "other", 10002); err != nil {
		t.Errorf("another guest: %v", err)
	}
	for i, id := range []string{"guest", "other"} {
		if err := r.CloseSession(testContext(t), id, 10001+i); err != nil {
			t.Fatal(err)
		}
	}
	if m := r.fetch(t, f); !m.Private || !m.Proven {
		t.Errorf("the guests have left: %+v", m)
	}
	if err := r.guest(t, "guest", 10001); !errors.Is(err, agent.ErrProofRequired) {
		t.Errorf("a guest comes back: %v", err)
	}
}

// TestAnothersFetchIsNoProof: a fetch that answers several requests has read the remote with the credential of one.
func TestAnothersFetchIsNoProof(t *testing.T) {
	r := private(t)
	r.fetch(t, agent.Fetch{Username: "me", Password: "right"})
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			f := agent.Fetch{URL: r.url, Prove: true}
			if right := i%3 == 0; right {
				f.Username, f.Password = "me", "right"
			} else if i%3 == 1 {
				f.Username, f.Password = "me", "wrong"
			}
			m, err := r.Fetch(testContext(t), f, nil)
			if f.Password == "right" && (err != nil || !m.Proven) || f.Password != "right" && !refused(err) {
				t.Errorf("with the password %q: %+v, %v", f.Password, m, err)
			}
		})
	}
	all.Wait()
}

// TestEqualProofsShareAQuestion: many tasks of one user come at once.
func TestEqualProofsShareAQuestion(t *testing.T) {
	r := private(t)
	r.fetch(t, agent.Fetch{Username: "me", Password: "right"})
	asked := r.git.Requests()
	r.fetch(t, agent.Fetch{Username: "me", Password: "right", Prove: true, MaxAge: time.Hour})
	one := r.git.Requests() - asked
	const callers = 40
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			f := agent.Fetch{URL: r.url, Username: "me", Password: "right", Prove: true, MaxAge: time.Hour}
			if m, err := r.Fetch(testContext(t), f, nil); err != nil || !m.Proven {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
	all.Wait()
	if n := r.git.Requests() - asked - one; n > one*callers/4 {
		t.Errorf("%d proofs took %d requests, of which one takes %d", callers, n, one)
	}
}

// TestAMirrorOfUnknownOriginIsPrivate: an agent of an older version has fetched it.
func TestAMirrorOfUnknownOriginIsPrivate(t *testing.T) {
	r := start(t)
	if err := os.Remove(filepath.Join(r.agent.Inside(r.agent.Dir), "mirror", ".anonymous")); err != nil {
		t.Fatal(err)
	}
	r.agent.Restart()
	r.Client = r.agent.Client(agent.ClientOptions{})
	if err := r.guest(t, "guest", 10001); !errors.Is(err, agent.ErrProofRequired) {
		t.Errorf("a session without a proof: %v", err)
	}
	if m := r.fetch(t, agent.Fetch{Prove: true, MaxAge: time.Hour}); !m.Private || !m.Proven {
		t.Errorf("the remote admits everybody: %+v", m)
	}
}

// TestAnUnreachableRemoteRefusesNobody: the failure is one of the connection.
func TestAnUnreachableRemoteRefusesNobody(t *testing.T) {
	r := private(t)
	r.fetch(t, agent.Fetch{Username: "me", Password: "right"})
	r.git.CloseClientConnections()
	r.git.Listener.Close()
	ctx, cancel := context.WithTimeout(testContext(t), 2*time.Second) // otherwise it is tried for 15 s
	defer cancel()
	m, err := r.Fetch(ctx, agent.Fetch{URL: r.url, Username: "me", Password: "right", Prove: true, MaxAge: time.Hour}, nil)
	if err == nil || refused(err) || m.Proven {
		t.Errorf("%+v, %v", m, err)
	}
}
