package berth_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
)

// TestWorkOfADeadPlannerIsTakenOver: the others watch it before one of them plans, so that they do not
// count its term twice.
func TestWorkOfADeadPlannerIsTakenOver(t *testing.T) {
	for _, since := range []time.Duration{20 * time.Second, 22 * time.Second, 24 * time.Second} { // a lease beats each 5 s
		t.Run(since.String(), func(t *testing.T) {
			inWorld(t, setup{}, func(t *testing.T, w *world) {
				reach := &cutStore{Store: w.store}
				w.store = reach
				planner := w.provider()
				w.store = reach.Store
				w.Provider.Close()
				time.Sleep(3 * time.Second)
				third := w.provider()
				before, err := third.CreateSession(t.Context(), asking("before", repoA)) // the container is up
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(since)
				if !planner.Stats().Planner {
					t.Fatal("the wrong replica plans")
				}
				w.engine.Next(fake.Open, 1, fake.Fault{Delay: time.Hour})
				cut := w.creating(t.Context(), planner, asking("t", repoA))
				time.Sleep(500 * time.Millisecond)
				reach.cut.Store(true)
				begun := time.Now()
				s, err := third.CreateSession(t.Context(), asking("t", repoA))
				if err != nil {
					t.Fatal(err)
				}
				// The last beat is up to a third of the term ago. All look each second.
				if waited := time.Since(begun); waited < 10*time.Second || waited > 19*time.Second {
					t.Errorf("the task could be created again after %v", waited)
				}
				if !third.Stats().Planner {
					t.Error("the other replica does not plan")
				}
				<-cut
				for _, id := range []string{s.ID(), before.ID()} {
					if err := third.TerminateSession(t.Context(), id); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}
