package admission_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
)

// TestQueuedSessionWakesThePool: a session that needs an instance does not wait for the pool's next tick.
func TestQueuedSessionWakesThePool(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxInstances: 2, MaxTasksPerInstance: 1, SessionIdleTimeout: -1}}, func(t *testing.T, w *world.World) {
		w.Create("a", world.RepoA)
		world.After(time.Minute) // until the pool has nothing to do
		for range 3 {
			world.After(1100 * time.Millisecond)
			second := world.Creating(t.Context(), w.Provider, world.Request("b", world.RepoB))
			world.After(100 * time.Millisecond)
			if n := len(w.InstanceRecords()); n != 2 {
				t.Errorf("100 ms after a session was queued there are %d instances, want 2", n)
			}
			r := <-second
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			w.Terminate(r.Session)
			world.After(time.Hour) // the second instance goes
		}
	})
}

// TestPlannerHearsOfWhatOthersAsk: creating a session and destroying the pool take no longer through a replica that is
// not the planner.
func TestPlannerHearsOfWhatOthersAsk(t *testing.T) {
	took := make(map[bool][2]time.Duration) // a start and a Destroy, through the planner or not
	for _, plans := range []bool{true, false} {
		world.Run(t, world.Setup{Config: berth.Config{InstanceIdleTimeout: -1}}, func(t *testing.T, w *world.World) {
			world.After(time.Second)
			second := w.NewProvider()
			p := map[bool]*berth.Provider{true: w.Provider, false: second}[plans]
			time.Sleep(time.Minute + 300*time.Millisecond) // the planner has nothing to do
			if p.Stats().Planner != plans {
				t.Fatal("the wrong replica plans")
			}
			begun := time.Now()
			world.Create(t, p, world.Request("t", world.RepoA))
			start := time.Since(begun)
			time.Sleep(time.Minute)
			begun = time.Now()
			if err := p.Destroy(t.Context()); err != nil {
				t.Fatal(err)
			}
			took[plans] = [2]time.Duration{start, time.Since(begun)}
		})
	}
	for i, what := range []string{"a start", "Destroy"} {
		if own, other := took[true][i], took[false][i]; other > own+time.Second {
			t.Errorf("%s takes %v through the planner, and %v through another replica", what, own, other)
		}
	}
}
