package berth_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

func TestTerminateIsIdempotent(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		if err := w.TerminateSession(t.Context(), "s-nobody"); !errors.Is(err, berth.ErrSessionNotFound) {
			t.Error(err)
		}
		s := w.create("t", repoA)
		w.terminate(s)
		w.terminate(s)
		select {
		case <-s.Done():
		default:
			t.Error("Done is open")
		}
		if !errors.Is(s.Err(), berth.ErrTerminated) {
			t.Error(s.Err())
		}
		got, err := w.GetSession(t.Context(), s.ID())
		if err != nil || got.Info().State != berth.SessionEnded {
			t.Errorf("%v, %v", got, err)
		}
		<-got.Done()
		w.empty()
		after(11 * time.Minute)
		if err := w.TerminateSession(t.Context(), s.ID()); !errors.Is(err, berth.ErrSessionNotFound) {
			t.Errorf("after the retention: %v", err)
		}
	})
}

func TestTerminateByManyAtOnce(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		other := w.provider()
		s := w.create("t", repoA)
		var all sync.WaitGroup
		for i := range 10 {
			p := w.Provider
			if i%2 == 0 {
				p = other
			}
			all.Go(func() {
				if err := p.TerminateSession(t.Context(), s.ID()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		w.empty()
		if n := w.engine.Calls(fake.CloseSession); n != 1 {
			t.Errorf("the session was closed %d times", n)
		}
		after(10 * time.Second)
		ended := 0
		for _, e := range w.seen() {
			switch e.Type {
			case berth.EventSessionEnded:
				ended++
			case berth.EventContainerLost:
				t.Errorf("a container that ended in peace is called lost: %+v", e)
			}
		}
		if ended != 1 {
			t.Errorf("%d events of its end", ended)
		}
	})
}

func TestTerminateWhileCreating(t *testing.T) {
	for _, where := range []string{"the same replica", "another replica"} {
		for _, verb := range []fake.Verb{fake.Ensure, fake.Fetch, fake.Open} {
			t.Run(where+", in "+string(verb), func(t *testing.T) {
				inWorld(t, setup{}, func(t *testing.T, w *world) {
					p := w.Provider
					if where == "another replica" {
						p = w.provider()
					}
					w.engine.Hang(verb)
					c := w.creating(t.Context(), w.Provider, asking("t", repoA))
					time.Sleep(time.Minute)
					w.pending(c, "it hangs")
					if err := p.TerminateSession(t.Context(), w.alive()[0].ID); err != nil {
						t.Fatal(err)
					}
					if r := <-c; !errors.Is(r.err, berth.ErrTerminated) {
						t.Errorf("%v, want ErrTerminated", r.err)
					}
					after(5 * time.Second)
					w.empty()
				})
			})
		}
	}
}

func TestTerminateGoesOnWhenItsCallerGivesUp(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		w.engine.Next(fake.CloseSession, 1, fake.Fault{Delay: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.TerminateSession(ctx, s.ID()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := w.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Error(err)
		}
		w.empty()
	})
}

func TestTerminateTriesAgainUntilTheEngineAnswers(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		w.engine.Fail(fake.CloseSession, 3, errors.New("EOF"))
		w.engine.Fail(fake.Remove, 3, errors.New("EOF"))
		w.terminate(s)
		w.empty()
		if stats := w.Stats(); stats.Errors < 3 || stats.Containers.Errors < 3 {
			t.Errorf("the failures are not counted: %+v", stats)
		}
	})
}

// TestLateTaskNeverJoinsADyingContainer: a task that comes while its container is being removed gets a fresh one on the
// same instance.
func TestLateTaskNeverJoinsADyingContainer(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxInstances: 3}}, func(t *testing.T, w *world) {
		s := w.create("t1", repoA)
		w.engine.Next(fake.Remove, 1, fake.Fault{Delay: 20 * time.Second})
		go w.TerminateSession(t.Context(), s.ID())
		time.Sleep(time.Second)
		synctest.Wait()
		if c := w.containers(); len(c) != 1 || c[0].State != "stopping" {
			t.Fatalf("%+v", c)
		}
		late := w.create("t2", repoA).Info()
		old := s.Info()
		if late.Container.ID == old.Container.ID || late.Instance.ID != old.Instance.ID || late.Start != berth.StartWarm {
			t.Errorf("the late one: %+v\nthe old one: %+v", late, old)
		}
		if n := w.cloud.Launches(); n != 1 {
			t.Errorf("%d launches", n)
		}
	})
}

// TestIDsThatCannotBe come from outside, such as from a URL. They are refused before anybody looks for them.
func TestIDsThatCannotBe(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		for _, id := range []string{"", "x\x00", "\xff", "../../etc", strings.Repeat("s", 2000)} {
			if err := w.TerminateSession(t.Context(), id); !errors.Is(err, berth.ErrSessionNotFound) {
				t.Errorf("TerminateSession(%.20q): %v", id, err)
			}
			if _, err := w.GetSession(t.Context(), id); !errors.Is(err, berth.ErrSessionNotFound) {
				t.Errorf("GetSession(%.20q): %v", id, err)
			}
		}
	})
}
