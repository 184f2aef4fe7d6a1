package berth_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/pool"
)

// states returns the states that the events of an instance report, and the error of each. An event must name the
// instance alone, and has an Err only if the instance no longer serves.
func states(w *world.World, instance string) (states []string, why map[string]error) {
	w.T.Helper()
	why = make(map[string]error)
	for _, e := range w.Events(berth.EventInstanceChange) {
		if e.Time.IsZero() || e.SessionID != "" || e.TaskID != "" || e.Container != "" || !e.Repository.IsZero() {
			w.T.Errorf("an event of an instance: %+v", e)
		}
		if slices.Contains([]string{"launching", "booting", "ready"}, e.Message) && e.Err != nil {
			w.T.Errorf("an instance that serves has a reason: %+v", e)
		}
		if e.Instance == instance {
			states, why[e.Message] = append(states, e.Message), e.Err
		}
	}
	return states, why
}

func TestEventsOfAnInstanceThatIsRetired(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		w.Terminate(s)
		world.After(15 * time.Minute)
		states, why := states(w, s.Info().Instance.ID)
		want := []string{"launching", "booting", "ready", "cordoned", "terminating", "gone"}
		if !slices.Equal(states, want) {
			t.Errorf("%q, want %q", states, want)
		}
		for _, state := range want[3:] {
			if why[state] == nil {
				t.Errorf("no event says why it is %s", state)
			}
		}
	})
}

func TestEventsOfAnInstanceThatIsLost(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		lost := s.Info().Instance.ID
		w.Cloud.Vanish(lost)
		<-s.Done()
		world.After(10 * time.Minute)
		states, why := states(w, lost)
		if want := []string{"launching", "booting", "ready", "lost", "gone"}; !slices.Equal(states, want) {
			t.Errorf("%q, want %q", states, want)
		}
		if why["lost"] == nil || why["gone"] == nil {
			t.Errorf("why: %v", why)
		}
		ends := w.Events(berth.EventSessionEnded, berth.EventContainerLost)
		if len(ends) != 1 || ends[0].SessionID != s.ID() || ends[0].TaskID != "t" || ends[0].Instance != lost ||
			!errors.Is(ends[0].Err, berth.ErrInstanceLost) || !strings.Contains(ends[0].Err.Error(), why["lost"].Error()) {
			t.Errorf("the session's end: %+v", ends)
		}
	})
}

func TestEventsOfALaunchThatFails(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Cloud.EndAtBoot(1, "Server.InternalError")
		s := w.Create("t", world.RepoA)
		for _, e := range w.Events(berth.EventInstanceChange) {
			if e.Message == "gone" && e.Instance != s.Info().Instance.ID {
				if states, why := states(w, e.Instance); e.Err == nil || !strings.Contains(why["gone"].Error(), "InternalError") {
					t.Errorf("%q, %v", states, why)
				}
				return
			}
		}
		t.Errorf("no event reports it: %+v", w.Events(berth.EventInstanceChange))
	})
}

func TestEventsOfALaunchThatIsRefused(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Cloud.FailLaunches(1, fmt.Errorf("%w: none are left of this type", pool.ErrCapacity))
		w.Create("t", world.RepoA)
		refused := w.Events(berth.EventInstanceChange)[0].Instance
		states, why := states(w, refused)
		if !slices.Equal(states, []string{"launching", "gone"}) || why["gone"] == nil ||
			!strings.Contains(why["gone"].Error(), "none are left of this type") {
			t.Errorf("%q, %v", states, why)
		}
	})
}

func TestEventsOfAContainerThatIsLost(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		a, b := w.Create("a", world.RepoA), w.Create("b", world.RepoA)
		other := w.Create("other", world.RepoB)
		w.Engine.KillContainer(a.Info().Container.Name)
		world.After(10 * time.Second)
		repository, _ := naming.ParseRepository(world.RepoA)
		var order []string
		for _, e := range w.Events(berth.EventContainerLost, berth.EventSessionEnded, berth.EventContainerGone) {
			order = append(order, string(e.Type))
			if e.Repository != repository || e.Container != a.Info().Container.Name || e.Instance != a.Info().Instance.ID {
				t.Errorf("where: %+v", e)
			}
			switch e.Type {
			case berth.EventContainerLost:
				if e.Err == nil || e.SessionID != "" {
					t.Errorf("%+v", e)
				}
			case berth.EventSessionEnded:
				if !errors.Is(e.Err, berth.ErrContainerLost) || e.SessionID != a.ID() && e.SessionID != b.ID() {
					t.Errorf("%+v", e)
				}
			case berth.EventContainerGone:
				if e.Err != nil {
					t.Errorf("%+v", e)
				}
			}
		}
		if want := []string{"container lost", "session ended", "session ended", "container gone"}; !slices.Equal(order, want) {
			t.Errorf("%q, want %q", order, want)
		}
		if other.Err() != nil {
			t.Errorf("a session of another container: %v", other.Err())
		}
	})
}

func TestEventsOfProgress(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		w.Create("joins", world.RepoA) // so there is no event
		var got []string
		for _, e := range w.Events(berth.EventSessionPlaced, berth.EventProgress, berth.EventSessionActive) {
			got = append(got, fmt.Sprint(e.TaskID, e.Message))
			if e.Type != berth.EventProgress {
				continue
			}
			if e.Repository.Name() != "rocket" || e.Container != s.Info().Container.Name || e.Instance != s.Info().Instance.ID || e.Err != nil {
				t.Errorf("%+v", e)
			}
		}
		want := []string{
			"t", "starting the container", "fetching the repository",
			"Receiving objects: 0 %", "Receiving objects: 50 %", "Receiving objects: 100 %", "t", "joins", "joins",
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestOutOfMemoryIsTold: the command's error or the session's, an event and the statistics report it.
func TestOutOfMemoryIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		lack    func(w *world.World, at *berth.SessionInfo)
		session bool // the event is about the session
		lost    bool
	}{
		"by a command": {func(w *world.World, at *berth.SessionInfo) { w.Engine.OutOfMemory(at.Container.Name, at.ID) }, true, false},
		"by its agent": {func(w *world.World, at *berth.SessionInfo) { w.Engine.DieOutOfMemory(at.Container.Name) }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
				cmd := s.Command(t.Context(), "sleep")
				world.Start(t, cmd)
				info := s.Info()
				test.lack(w, &info)
				err := cmd.Wait()
				failure, exited := errors.AsType[*berth.ExitError](err)
				if !errors.Is(err, berth.ErrOutOfMemory) || !strings.Contains(err.Error(), "out of memory") || errors.Is(err, berth.ErrContainerLost) != test.lost ||
					!test.lost && (!exited || !failure.OutOfMemory || failure.Signal != 9) {
					t.Errorf("Wait: %v", err)
				}
				if test.lost {
					<-s.Done()
					if err := s.Err(); !errors.Is(err, berth.ErrOutOfMemory) || !errors.Is(err, berth.ErrContainerLost) {
						t.Errorf("the session's error: %v", err)
					}
				} else if err := s.Command(t.Context(), "true").Run(); err != nil {
					t.Errorf("the next command: %v", err)
				}
				told := w.Events(berth.EventOutOfMemory)
				if len(told) != 1 || (told[0].SessionID == s.ID()) != test.session || told[0].Container != info.Container.Name ||
					!errors.Is(told[0].Err, berth.ErrOutOfMemory) {
					t.Errorf("the events are %+v", told)
				}
				if n := w.Stats().OutOfMemory; n != 1 {
					t.Errorf("the statistics count %d, want 1", n)
				}
				if err := s.Command(t.Context(), "fail").Run(); errors.Is(err, berth.ErrOutOfMemory) != test.lost {
					t.Errorf("a later command that fails: %v", err)
				}
			})
		})
	}
}

// TestReasonOfAnEndIsTold: the error of a command says why the agent ended the processes of its session, which goes on.
func TestReasonOfAnEndIsTold(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := s.Command(t.Context(), "sleep")
		world.Start(t, cmd)
		if !w.Engine.EndCommands(s.Info().Container.Name, s.ID(), "ports") {
			t.Error("no command was ended")
		}
		err := cmd.Wait()
		if failure, ok := errors.AsType[*berth.ExitError](err); !ok || failure.Reason != "ports" || failure.Signal != 9 || !strings.HasSuffix(err.Error(), "were ended: ports") {
			t.Errorf("Wait: %v", err)
		}
		if err := s.Command(t.Context(), "true").Run(); err != nil {
			t.Errorf("the next command: %v", err)
		}
	})
}

// TestHostFunctionThatPanicsInTheBackground: the process lives, and the log has the panic's words. Later events are delivered, and time
// without a price is in the bill.
func TestHostFunctionThatPanicsInTheBackground(t *testing.T) {
	var delivered atomic.Int64
	setup := world.Setup{Config: berth.Config{PricePerHour: func(pool.Machine) (float64, bool) { panic("no price today") }}}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		w.Config.OnEvent = func(e berth.Event) {
			if delivered.Add(1); e.Type == berth.EventSessionPlaced {
				panic("no event today")
			}
		}
		p := w.NewProvider()
		s := world.Create(t, p, world.Request("t", world.RepoA))
		world.After(3 * time.Minute)
		before := delivered.Load()
		if err := p.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if before == 0 || delivered.Load() == before {
			t.Errorf("%d events were delivered, and then %d", before, delivered.Load())
		}
		for u, err := range p.Usage(t.Context(), berth.UsageQuery{}) {
			if err != nil || u.USD != 0 || u.Unpriced == 0 {
				t.Errorf("%+v, %v", u, err)
			}
		}
		for _, words := range []string{"no price today", "no event today"} {
			if !strings.Contains(w.LogText(), words) {
				t.Errorf("the log does not have %q", words)
			}
		}
		p.Close()
	})
}
