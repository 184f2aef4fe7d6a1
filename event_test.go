package berth_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/pool"
)

// of returns the events of some types so far, in order.
func (w *world) of(types ...berth.EventType) []berth.Event {
	return slices.DeleteFunc(w.seen(), func(e berth.Event) bool { return !slices.Contains(types, e.Type) })
}

// states returns what was told of the states of an instance. Each event must name the instance alone, and Err may only
// be set where an instance does not serve any more.
func (w *world) states(instance string) (states []string, why map[string]error) {
	w.t.Helper()
	why = make(map[string]error)
	for _, e := range w.of(berth.EventInstanceChange) {
		if e.Time.IsZero() || e.SessionID != "" || e.TaskID != "" || e.Container != "" || !e.Repository.IsZero() {
			w.t.Errorf("an event of an instance: %+v", e)
		}
		if slices.Contains([]string{"launching", "booting", "ready"}, e.Message) && e.Err != nil {
			w.t.Errorf("an instance that serves has a reason: %+v", e)
		}
		if e.Instance == instance {
			states, why[e.Message] = append(states, e.Message), e.Err
		}
	}
	return states, why
}

func TestEventsOfAnInstanceThatIsRetired(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		w.terminate(s)
		after(15 * time.Minute)
		states, why := w.states(s.Info().Instance.ID)
		want := []string{"launching", "booting", "ready", "cordoned", "terminating", "gone"}
		if !slices.Equal(states, want) {
			t.Errorf("%q, want %q", states, want)
		}
		for _, state := range want[3:] {
			if why[state] == nil {
				t.Errorf("nothing says why it is %s", state)
			}
		}
	})
}

func TestEventsOfAnInstanceThatIsLost(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		lost := s.Info().Instance.ID
		w.cloud.Vanish(lost)
		<-s.Done()
		after(10 * time.Minute)
		states, why := w.states(lost)
		if want := []string{"launching", "booting", "ready", "lost", "gone"}; !slices.Equal(states, want) {
			t.Errorf("%q, want %q", states, want)
		}
		if why["lost"] == nil || why["gone"] == nil {
			t.Errorf("why: %v", why)
		}
		ends := w.of(berth.EventSessionEnded, berth.EventContainerLost)
		if len(ends) != 1 || ends[0].SessionID != s.ID() || ends[0].TaskID != "t" || ends[0].Instance != lost ||
			!errors.Is(ends[0].Err, berth.ErrInstanceLost) || !strings.Contains(ends[0].Err.Error(), why["lost"].Error()) {
			t.Errorf("the session's end: %+v", ends)
		}
	})
}

func TestEventsOfALaunchThatFails(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		w.cloud.EndAtBoot(1, "Server.InternalError")
		s := w.create("t", repoA)
		for _, e := range w.of(berth.EventInstanceChange) {
			if e.Message == "gone" && e.Instance != s.Info().Instance.ID {
				if states, why := w.states(e.Instance); e.Err == nil || !strings.Contains(why["gone"].Error(), "InternalError") {
					t.Errorf("%q, %v", states, why)
				}
				return
			}
		}
		t.Errorf("nothing tells of it: %+v", w.of(berth.EventInstanceChange))
	})
}

func TestEventsOfALaunchThatIsRefused(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		w.cloud.FailLaunches(1, fmt.Errorf("%w: none are left of this type", pool.ErrCapacity))
		w.create("t", repoA)
		refused := w.of(berth.EventInstanceChange)[0].Instance
		states, why := w.states(refused)
		if !slices.Equal(states, []string{"launching", "gone"}) || why["gone"] == nil ||
			!strings.Contains(why["gone"].Error(), "none are left of this type") {
			t.Errorf("%q, %v", states, why)
		}
	})
}

func TestEventsOfAContainerThatIsLost(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		a, b := w.create("a", repoA), w.create("b", repoA)
		other := w.create("other", repoB)
		w.engine.KillContainer(a.Info().Container.Name)
		after(10 * time.Second)
		repository, _ := naming.ParseRepository(repoA)
		var order []string
		for _, e := range w.of(berth.EventContainerLost, berth.EventSessionEnded, berth.EventContainerGone) {
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
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		w.create("joins", repoA) // and has nothing to tell of
		var got []string
		for _, e := range w.of(berth.EventSessionPlaced, berth.EventProgress, berth.EventSessionActive) {
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
