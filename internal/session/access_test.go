package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/access"
	"github.com/berth-go/berth/internal/test/world"
)

const vault = "git.example/acme/vault" // a private repository

// inVault runs a test with the vault, whose password is "right".
func inVault(t *testing.T, cfg berth.Config, test func(*testing.T, *world.World)) {
	engine := fake.EngineOptions{Repositories: map[string]fake.Repo{"https://" + vault: {Password: "right", Branches: []string{"next"}}}}
	world.Run(t, world.Setup{Config: cfg, Engine: engine}, test)
}

// asks returns a request for the vault.
func asks(task, user, password string) berth.SessionRequest {
	r := world.Request(task, "https://"+vault)
	if password != "" {
		r.Repository = "https://x:" + password + "@" + vault
	}
	r.UserID = user
	return r
}

// requests returns how many requests the vault has had during fn.
func requests(w *world.World, fn func()) int {
	before := w.Engine.Requests("https://" + vault)
	fn()
	return w.Engine.Requests("https://"+vault) - before
}

// denied checks that a request is refused and leaves nothing.
func denied(t *testing.T, w *world.World, r berth.SessionRequest) error {
	t.Helper()
	before := len(w.OpenSessions())
	s, err := w.CreateSession(t.Context(), r)
	if s != nil || !errors.Is(err, berth.ErrAccessDenied) || berth.Retryable(err) {
		t.Errorf("%s of %s: %v, %v", r.TaskID, r.UserID, s, err)
		return err
	}
	if failure, ok := errors.AsType[*berth.StartError](err); !ok || failure.Phase != "fetching" || failure.TaskID != r.TaskID {
		t.Errorf("%s of %s: %v", r.TaskID, r.UserID, err)
	}
	if strings.Contains(err.Error(), "wrong") {
		t.Errorf("the error has the password: %v", err)
	}
	if after := len(w.OpenSessions()); after != before {
		t.Errorf("%s of %s: %d sessions became %d", r.TaskID, r.UserID, before, after)
	}
	for _, c := range w.Engine.Containers() {
		for _, in := range c.Sessions {
			if !in.Proven && c.Key.Repository.Name() == "vault" {
				t.Errorf("%s of %s: session %s is open and has proven nothing", r.TaskID, r.UserID, in.ID)
			}
		}
	}
	return err
}

func TestWhatACredentialFetchedNeedsAProof(t *testing.T) {
	inVault(t, berth.Config{}, func(t *testing.T, w *world.World) {
		world.Create(t, w.Provider, asks("ann-1", "ann", "right"))
		if n := requests(w, func() { world.Create(t, w.Provider, asks("ann-2", "ann", "right")) }); n != 0 {
			t.Errorf("who started the container has proven it, and the remote had %d requests", n)
		}
		denied(t, w, asks("eve-1", "eve", ""))
		denied(t, w, asks("eve-2", "eve", "wrong"))
		denied(t, w, asks("ann-3", "ann", "")) // her proof is that of her credential
		if n := requests(w, func() {
			if s := world.Create(t, w.Provider, asks("bob-1", "bob", "right")); s.Info().Start != berth.StartAttached {
				t.Errorf("bob's session is %s", s.Info().Start)
			}
		}); n != 1 {
			t.Errorf("bob's proof took %d requests", n)
		}
	})
}

// TestAProofWithoutAFetch: the mirror may be of any age, so that every request is one for a proof.
func TestAProofWithoutAFetch(t *testing.T) {
	for mode, want := range map[berth.Access][]int{
		berth.AccessProve:       {0, 1, 0, 1}, // ann has started it; bob; bob again; bob after 5 min
		berth.AccessProveAlways: {1, 1, 1, 1},
		berth.AccessAllowAll:    {0, 0, 0, 0},
	} {
		t.Run(mode.String(), func(t *testing.T) {
			inVault(t, berth.Config{MirrorMaxAge: -1, Access: mode}, func(t *testing.T, w *world.World) {
				world.Create(t, w.Provider, asks("ann-1", "ann", "right"))
				for i, user := range []string{"ann", "bob", "bob", "bob"} {
					if i == 3 {
						time.Sleep(access.ProvenFor)
					}
					n := requests(w, func() { world.Create(t, w.Provider, asks(fmt.Sprint("t", i), user, "right")) })
					if n != want[i] {
						t.Errorf("session %d: %d requests, want %d", i, n, want[i])
					}
				}
				if mode == berth.AccessAllowAll {
					world.Create(t, w.Provider, asks("eve", "eve", ""))
				} else {
					denied(t, w, asks("eve", "eve", ""))
				}
			})
		})
	}
}

func TestARefusalIsKeptForAWhile(t *testing.T) {
	inVault(t, berth.Config{MirrorMaxAge: -1}, func(t *testing.T, w *world.World) {
		own := world.Create(t, w.Provider, asks("ann-1", "ann", "right"))
		for i, c := range []struct {
			after time.Duration
			asked int
		}{{0, 1}, {0, 0}, {access.RefusedFor - 2*time.Second, 0}, {2 * time.Second, 1}} {
			time.Sleep(c.after)
			if n := requests(w, func() { denied(t, w, asks(fmt.Sprint("eve-", i), "eve", "wrong")) }); n != c.asked {
				t.Errorf("%d: %d requests, want %d", i, n, c.asked)
			}
		}
		world.Create(t, w.Provider, asks("eve-right", "eve", "right")) // another credential
		denied(t, w, asks("ann-2", "ann", "wrong"))
		if s, err := w.CreateSession(t.Context(), asks("ann-1", "ann", "wrong")); err != nil || s.ID() != own.ID() {
			t.Errorf("a session that exists: %v", err)
		}
		if _, err := w.CreateSession(t.Context(), asks("ann-1", "eve", "right")); !errors.Is(err, berth.ErrTaskConflict) {
			t.Errorf("another's session: %v", err)
		}
	})
}

// TestAFailureThatPassesIsNoRefusal: the session fails, and the next one may succeed at once.
func TestAFailureThatPassesIsNoRefusal(t *testing.T) {
	inVault(t, berth.Config{MirrorMaxAge: -1}, func(t *testing.T, w *world.World) {
		world.Create(t, w.Provider, asks("ann", "ann", "right"))
		w.Engine.Flake("https://"+vault, 2, &agent.GitError{Op: "ls-remote", Message: "The requested URL returned error: 503"})
		world.Create(t, w.Provider, asks("bob", "bob", "right")) // it is tried again
		w.Engine.Refuse("https://"+vault, &agent.GitError{Op: "ls-remote", Message: "the remote takes no connection: no answer for 30s"})
		for range 2 {
			_, err := w.CreateSession(t.Context(), asks("carl", "carl", "right"))
			if err == nil || errors.Is(err, berth.ErrAccessDenied) || !berth.Retryable(err) {
				t.Errorf("while the remote does not answer: %v", err)
			}
		}
		world.Create(t, w.Provider, asks("bob-2", "bob", "right")) // his proof is known
		w.Engine.Refuse("https://"+vault, nil)
		world.Create(t, w.Provider, asks("carl", "carl", "right"))
		w.Engine.HangRemote("https://"+vault, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := w.CreateSession(ctx, asks("dora", "dora", "right")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, berth.ErrAccessDenied) {
			t.Errorf("while the remote hangs: %v", err)
		}
		w.Engine.HangRemote("https://"+vault, false)
		world.Create(t, w.Provider, asks("dora", "dora", "right"))
	})
}

// TestWhoWaitsForAStartProvesToo: sessions that wait for a container that another's credential starts have proven nothing.
func TestWhoWaitsForAStartProvesToo(t *testing.T) {
	inVault(t, berth.Config{}, func(t *testing.T, w *world.World) {
		w.Create("warm-up", world.RepoA) // an instance is there
		other := w.NewProvider()
		w.Engine.HangRemote("https://"+vault, true)
		first := world.Creating(t.Context(), w.Provider, asks("ann", "ann", "right"))
		world.After(10 * time.Second)
		waiting := map[string]<-chan world.Result{}
		for i, p := range []*berth.Provider{w.Provider, other} {
			for user, password := range map[string]string{"ann": "right", "bob": "right", "eve": "", "mal": "wrong"} {
				task := fmt.Sprint(user, "-", i)
				waiting[task] = world.Creating(t.Context(), p, asks(task, user, password))
			}
		}
		world.After(time.Second)
		w.Engine.HangRemote("https://"+vault, false)
		if r := <-first; r.Err != nil {
			t.Fatal(r.Err)
		}
		for task, c := range waiting {
			r := <-c
			honest := strings.HasPrefix(task, "ann") || strings.HasPrefix(task, "bob")
			if honest != (r.Err == nil) || !honest && !errors.Is(r.Err, berth.ErrAccessDenied) {
				t.Errorf("%s: %v", task, r.Err)
			}
		}
		denied(t, w, asks("eve", "eve", ""))
	})
}

// TestAPublicRepositoryNeedsNoProof: attaching to it costs no request, whatever credential the requests have.
func TestAPublicRepositoryNeedsNoProof(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MirrorMaxAge: -1}}, func(t *testing.T, w *world.World) {
		w.Create("first", world.RepoA)
		before := w.Engine.Requests(world.RepoA)
		for i := range 10 {
			r := world.Request(fmt.Sprint("t", i), world.RepoA)
			r.UserID = fmt.Sprint("user", i%3)
			if i%2 == 0 {
				r.Repository = strings.Replace(r.Repository, "https://", fmt.Sprintf("https://x:token%d@", i), 1)
			}
			world.Create(t, w.Provider, r)
		}
		if n := w.Engine.Requests(world.RepoA) - before; n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestARefusalTellsNotWhatIsThere: the error is the same with and without a container of the repository, and the time about so.
func TestARefusalTellsNotWhatIsThere(t *testing.T) {
	texts := make(map[string]int)
	var took [2]time.Duration
	for _, there := range []bool{false, true} {
		inVault(t, berth.Config{}, func(t *testing.T, w *world.World) {
			w.Create("warm-up", world.RepoA)
			if there {
				world.Create(t, w.Provider, asks("ann", "ann", "right"))
			}
			for _, branch := range []string{"", "next", "none"} {
				r := asks("eve", "eve", "")
				r.Branch = branch
				begun := time.Now()
				if err := denied(t, w, r); err != nil {
					texts[err.Error()]++
				}
				if there {
					took[1] += time.Since(begun)
				} else {
					took[0] += time.Since(begun)
				}
				time.Sleep(access.RefusedFor)
			}
		})
	}
	if len(texts) != 1 {
		t.Errorf("the errors differ: %v", texts)
	}
	if took[0] > 2*took[1] || took[1] > 2*took[0] {
		t.Errorf("a refusal takes %v without a container and %v with one", took[0]/3, took[1]/3)
	}
}

// TestARepositoryThatBecomesPrivate: sessions that came while it was public keep their place, and see nothing newer.
func TestARepositoryThatBecomesPrivate(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MirrorMaxAge: 1}}, func(t *testing.T, w *world.World) {
		guest := w.Create("guest", world.RepoA)
		w.Engine.SetRepository(world.RepoA, fake.Repo{Password: "right"})
		r := world.Request("ann", strings.Replace(world.RepoA, "https://", "https://x:right@", 1))
		if _, err := w.CreateSession(t.Context(), r); err == nil || !strings.Contains(err.Error(), "sessions that have not proven access") {
			t.Errorf("a guest is there: %v", err)
		}
		if _, err := w.CreateSession(t.Context(), world.Request("eve", world.RepoA)); !errors.Is(err, berth.ErrAccessDenied) {
			t.Errorf("eve has no credential: %v", err)
		}
		w.Terminate(guest)
		world.Create(t, w.Provider, r)
		if m := w.Engine.Mirrors(); len(m) != 1 || !m[0].Private {
			t.Errorf("%+v", m)
		}
	})
}

// TestAnAgentThatCannotProve: it is older than proofs, and may have opened a private mirror to everybody.
func TestAnAgentThatCannotProve(t *testing.T) {
	for _, verb := range []fake.Verb{fake.Fetch, fake.Open} {
		inVault(t, berth.Config{}, func(t *testing.T, w *world.World) {
			world.Create(t, w.Provider, asks("ann", "ann", "right"))
			w.Engine.Fail(verb, 1, fmt.Errorf("the agent is too old: %w", errors.ErrUnsupported))
			_, err := w.CreateSession(t.Context(), asks("bob", "bob", "right"))
			if !errors.Is(err, berth.ErrAccessDenied) || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "until its sessions have ended") {
				t.Errorf("%s: %v", verb, err)
			}
			world.Create(t, w.Provider, asks("bob", "bob", "right"))
		})
	}
}

func TestTheReasonOfARefusalIsStored(t *testing.T) {
	inVault(t, berth.Config{}, func(t *testing.T, w *world.World) {
		world.Create(t, w.Provider, asks("ann", "ann", "right"))
		eve := world.Creating(t.Context(), w.Provider, asks("eve", "eve", ""))
		var once sync.Once
		for s := range w.ListSessions(t.Context(), berth.SessionFilter{UserID: "eve"}) {
			once.Do(func() { <-s.Done() })
			if !errors.Is(s.Err(), berth.ErrAccessDenied) {
				t.Errorf("Err: %v", s.Err())
			}
		}
		if r := <-eve; !errors.Is(r.Err, berth.ErrAccessDenied) {
			t.Error(r.Err)
		}
		ended := 0
		for s, err := range w.ListSessions(t.Context(), berth.SessionFilter{UserID: "eve", States: []berth.SessionState{berth.SessionEnded}}) {
			if ended++; err != nil || !errors.Is(s.Err(), berth.ErrAccessDenied) {
				<-s.Done()
				t.Errorf("%v, Err: %v", err, s.Err())
			}
		}
		if ended != 1 {
			t.Errorf("%d sessions", ended)
		}
	})
}

// TestRevokeEndsAStart: a container that starts for the user alone is given up, and with it the fetch that has the user's
// credential.
func TestRevokeEndsAStart(t *testing.T) {
	for _, revoker := range []string{"the process that starts it", "another process"} {
		t.Run(revoker, func(t *testing.T) {
			inVault(t, berth.Config{}, func(t *testing.T, w *world.World) {
				other := w.NewProvider()
				w.Engine.HangRemote("https://"+vault, true)
				var all []<-chan world.Result
				for i, p := range []*berth.Provider{w.Provider, w.Provider, other} {
					all = append(all, world.Creating(t.Context(), p, asks(fmt.Sprint("ann-", i), "ann", "right")))
					world.After(10 * time.Second)
				}
				by := map[bool]*berth.Provider{true: w.Provider, false: other}[revoker == "the process that starts it"]
				begun := time.Now()
				if err := by.Revoke(t.Context(), "ann", vault); err != nil {
					t.Fatal(err)
				}
				for _, c := range all {
					if r := <-c; !errors.Is(r.Err, berth.ErrRevoked) {
						t.Errorf("%v, want ErrRevoked", r.Err)
					}
				}
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("it took %v, so the fetch went on", took)
				}
				world.After(time.Second)
				w.Empty()
			})
		})
	}
}

// TestRevokeEndsAFetchForOthers: sessions of others that wait for it get a container that starts with a credential of theirs.
func TestRevokeEndsAFetchForOthers(t *testing.T) {
	inVault(t, berth.Config{}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		w.Engine.HangRemote("https://"+vault, true)
		ann := world.Creating(t.Context(), w.Provider, asks("ann", "ann", "right"))
		world.After(10 * time.Second)
		bob := world.Creating(t.Context(), other, asks("bob", "bob", "right"))
		dora := world.Creating(t.Context(), w.Provider, asks("dora", "dora", "right"))
		world.After(10 * time.Second)
		before := w.ContainerRecords()
		if err := other.Revoke(t.Context(), "ann", vault); err != nil {
			t.Fatal(err)
		}
		if r := <-ann; !errors.Is(r.Err, berth.ErrRevoked) {
			t.Errorf("%v, want ErrRevoked", r.Err)
		}
		world.After(10 * time.Second)
		if after := w.ContainerRecords(); len(before) != 1 || len(after) != 1 || after[0].ID == before[0].ID {
			t.Errorf("the start of %+v goes on: %+v", before, after)
		}
		w.Engine.HangRemote("https://"+vault, false)
		for _, c := range []<-chan world.Result{bob, dora} {
			if r := <-c; r.Err != nil {
				t.Error(r.Err)
			}
		}
	})
}
