package berth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

func TestCloseEndsADestroyUnderWay(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		s := w.create("t", "https://git.example/org/repo")
		w.cloud.IgnoreTerminate(s.Info().Instance.ID, 1000) // so that Destroy never comes to its end
		done := make(chan error)
		go func() { done <- w.Destroy(context.Background()) }()
		time.Sleep(time.Minute)
		begin := time.Now()
		w.Close()
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("Close took %v", took)
		}
		if err := <-done; !errors.Is(err, berth.ErrClosed) {
			t.Errorf("Destroy ended with %v, want ErrClosed", err)
		}
	})
}

func TestDestroyingTwiceSucceeds(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		w.create("t", "https://git.example/org/repo")
		for range 2 {
			if err := w.Destroy(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestDestroyThatWasCutOffCanBeFinished(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		s := w.create("t", "https://git.example/org/repo")
		w.cloud.IgnoreTerminate(s.Info().Instance.ID, 2)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := w.Destroy(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the end of its context", err)
		}
		_, err := w.CreateSession(t.Context(), asking("u", "https://git.example/org/repo"))
		if !errors.Is(err, berth.ErrClosed) || !strings.Contains(err.Error(), "destroyed") {
			t.Errorf("a session on a pool that is being destroyed: %v", err)
		}
		if err := w.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestProviderMayBeClosedWhileItIsListed(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		w.create("t", "https://git.example/org/repo")
		for _, err := range w.ListSessions(t.Context(), berth.SessionFilter{}) {
			if err != nil && !errors.Is(err, berth.ErrClosed) {
				t.Error(err)
			}
			w.Close()
		}
		for _, err := range w.Repositories(t.Context()) {
			if !errors.Is(err, berth.ErrClosed) {
				t.Errorf("got %v, want ErrClosed", err)
			}
		}
	})
}

func TestWrongCredentialFailsNobodyElse(t *testing.T) {
	const url = "git.example/org/private"
	engine := fake.EngineOptions{Repositories: map[string]fake.Repo{"https://" + url: {Password: "right"}}}
	inWorld(t, setup{Engine: engine}, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.create("warm-up", "https://git.example/org/other") // an instance is there
		eve := w.creating(ctx, w.Provider, asking("eve", "https://x:wrong@"+url))
		time.Sleep(200 * time.Millisecond)
		alice := w.creating(ctx, w.Provider, asking("alice", "https://x:right@"+url))
		if r := <-eve; r.err == nil {
			t.Error("a wrong credential was good enough")
		} else if failure, ok := errors.AsType[*berth.StartError](r.err); !ok || failure.Phase != "fetching" {
			t.Errorf("the wrong credential gave %v", r.err)
		}
		if r := <-alice; r.err != nil {
			t.Errorf("with the right credential: %v", r.err)
		}
	})
}

// TestDestroyOfAProcessThatDiesIsUndone: whoever goes on with the pool would otherwise get ErrClosed until somebody
// destroys it once more.
func TestDestroyOfAProcessThatDiesIsUndone(t *testing.T) {
	for _, draining := range []bool{false, true} {
		t.Run(fmt.Sprintf("draining=%t", draining), func(t *testing.T) {
			inWorld(t, setup{}, func(t *testing.T, w *world) {
				reach := &cutStore{Store: w.store}
				w.store = reach
				dies := w.provider()
				w.store = reach.Store
				s, err := dies.CreateSession(t.Context(), asking("t", repoA))
				if err != nil {
					t.Fatal(err)
				}
				if draining { // it waits for an instance that does not end
					w.cloud.IgnoreTerminate(s.Info().Instance.ID, 100)
				} else {
					w.engine.Hang(fake.CloseSession)
				}
				var all sync.WaitGroup
				defer all.Wait()
				ctx, giveUp := context.WithCancel(t.Context())
				defer giveUp()
				all.Go(func() { dies.Destroy(ctx) })
				after(20 * time.Second)
				reach.cut.Store(true)
				after(time.Second)
				w.engine.Heal()
				w.Provider.Close()
				next := w.provider()
				if _, err := next.CreateSession(t.Context(), asking("early", repoB)); !errors.Is(err, berth.ErrClosed) {
					t.Errorf("a session while the pool is being destroyed, as far as is known: %v", err)
				}
				after(40 * time.Second)
				if _, err := next.CreateSession(t.Context(), asking("u", repoB)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestCloseDoesNotWaitForEverForTheHost: its OnEvent must not block, but a deadlock in it is no reason for another one.
func TestCloseDoesNotWaitForEverForTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		defer close(stuck)
		p, err := fake.NewProvider(fake.Options{Config: berth.Config{OnEvent: func(berth.Event) { <-stuck }}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.CreateSession(t.Context(), asking("t", repoA)); err != nil {
			t.Fatal(err)
		}
		if n := p.Stats().Events; n < 3 { // of the instance, of the container, of the session
			t.Errorf("Stats counts %d events that wait", n)
		}
		p.Close()
	})
}

// TestDestroyByTwoOfWhomOneDies: the pool stays closed as long as one is at it, and is opened by the next New when it is
// done, whoever came last.
func TestDestroyByTwoOfWhomOneDies(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		reach := &cutStore{Store: w.store}
		w.store = reach
		dies := w.provider()
		w.store = reach.Store
		s := w.create("t", repoA)
		w.cloud.IgnoreTerminate(s.Info().Instance.ID, 3)
		ctx, giveUp := context.WithCancel(t.Context())
		defer giveUp()
		var all sync.WaitGroup
		defer all.Wait()
		lives := make(chan error, 1)
		all.Go(func() { lives <- w.Destroy(t.Context()) })
		time.Sleep(time.Second)
		all.Go(func() { dies.Destroy(ctx) }) // the later one
		time.Sleep(time.Second)
		reach.cut.Store(true)
		if err := <-lives; err != nil {
			t.Errorf("the one that lives: %v", err)
		}
		giveUp()
		w.provider()
		w.Provider = w.provider()
		w.create("t", repoA)
	})
}
