package session_test

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
	"github.com/berth-go/berth/internal/test/world"
)

func TestTerminateIsIdempotent(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		if err := w.TerminateSession(t.Context(), "s-nobody"); !errors.Is(err, berth.ErrSessionNotFound) {
			t.Error(err)
		}
		s := w.Create("t", world.RepoA)
		w.Terminate(s)
		w.Terminate(s)
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
		w.Empty()
		world.After(11 * time.Minute)
		if err := w.TerminateSession(t.Context(), s.ID()); !errors.Is(err, berth.ErrSessionNotFound) {
			t.Errorf("after the retention: %v", err)
		}
	})
}

func TestTerminateByManyAtOnce(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		s := w.Create("t", world.RepoA)
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
		w.Empty()
		if n := w.Engine.Calls(fake.CloseSession); n != 1 {
			t.Errorf("the session was closed %d times", n)
		}
		world.After(10 * time.Second)
		ended := 0
		for _, e := range w.Events() {
			switch e.Type {
			case berth.EventSessionEnded:
				ended++
			case berth.EventContainerLost:
				t.Errorf("the container is reported as lost: %+v", e)
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
				world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
					p := w.Provider
					if where == "another replica" {
						p = w.NewProvider()
					}
					w.Engine.Hang(verb)
					c := world.Creating(t.Context(), w.Provider, world.Request("t", world.RepoA))
					time.Sleep(time.Minute)
					w.Pending(c, "it hangs")
					if err := p.TerminateSession(t.Context(), w.OpenSessions()[0].ID); err != nil {
						t.Fatal(err)
					}
					if r := <-c; !errors.Is(r.Err, berth.ErrTerminated) {
						t.Errorf("%v, want ErrTerminated", r.Err)
					}
					world.After(5 * time.Second)
					w.Empty()
				})
			})
		}
	}
}

func TestTerminateGoesOnWhenItsCallerGivesUp(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		w.Engine.Next(fake.CloseSession, 1, fake.Fault{Delay: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.TerminateSession(ctx, s.ID()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := w.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Error(err)
		}
		w.Empty()
	})
}

func TestTerminateTriesAgainUntilTheEngineAnswers(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		w.Engine.Fail(fake.CloseSession, 3, errors.New("EOF"))
		w.Engine.Fail(fake.Remove, 3, errors.New("EOF"))
		w.Terminate(s)
		w.Empty()
		if stats := w.Stats(); stats.Errors < 3 || stats.Containers.Errors < 3 {
			t.Errorf("the failures are not counted: %+v", stats)
		}
	})
}

// TestLateTaskNeverJoinsADyingContainer: a task that arrives while its container is being removed gets a new one on the
// same instance.
func TestLateTaskNeverJoinsADyingContainer(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxInstances: 3}}, func(t *testing.T, w *world.World) {
		s := w.Create("t1", world.RepoA)
		w.Engine.Next(fake.Remove, 1, fake.Fault{Delay: 20 * time.Second})
		go w.TerminateSession(t.Context(), s.ID())
		time.Sleep(time.Second)
		synctest.Wait()
		if c := w.ContainerRecords(); len(c) != 1 || c[0].State != "stopping" {
			t.Fatalf("%+v", c)
		}
		late := w.Create("t2", world.RepoA).Info()
		old := s.Info()
		if late.Container.ID == old.Container.ID || late.Instance.ID != old.Instance.ID || late.Start != berth.StartWarm {
			t.Errorf("the late session: %+v\nthe old one: %+v", late, old)
		}
		if n := w.Cloud.Launches(); n != 1 {
			t.Errorf("%d launches", n)
		}
	})
}

// TestIDsThatCannotBe: invalid IDs come from outside, such as from a URL. They are refused before the store is read.
func TestIDsThatCannotBe(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
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
