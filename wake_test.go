package berth_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth"
)

// TestPlannerHearsOfWhatOthersAsk: it takes no longer to get an instance, or to be rid of the pool, through a replica that
// does not plan.
func TestPlannerHearsOfWhatOthersAsk(t *testing.T) {
	took := make(map[bool][2]time.Duration) // a start and a Destroy, through the planner or not
	for _, plans := range []bool{true, false} {
		inWorld(t, setup{Config: berth.Config{InstanceIdleTimeout: -1}}, func(t *testing.T, w *world) {
			after(time.Second)
			second := w.provider()
			p := map[bool]*berth.Provider{true: w.Provider, false: second}[plans]
			time.Sleep(time.Minute + 300*time.Millisecond) // the planner has nothing to do
			if p.Stats().Planner != plans {
				t.Fatal("the wrong replica plans")
			}
			begun := time.Now()
			if _, err := p.CreateSession(t.Context(), asking("t", repoA)); err != nil {
				t.Fatal(err)
			}
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
