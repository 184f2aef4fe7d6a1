package replica_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
)

// TestWorkOfADeadPlannerIsTakenOver: the other replicas watch the planner all the time, so that a takeover takes one
// term of its lease and not two.
func TestWorkOfADeadPlannerIsTakenOver(t *testing.T) {
	for _, since := range []time.Duration{20 * time.Second, 22 * time.Second, 24 * time.Second} { // a lease beats each 5 s
		t.Run(since.String(), func(t *testing.T) {
			world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
				planner, reach := w.NewCutProvider()
				w.Provider.Close()
				time.Sleep(3 * time.Second)
				third := w.NewProvider()
				before := world.Create(t, third, world.Request("before", world.RepoA)) // so that the container is up
				time.Sleep(since)
				if !planner.Stats().Planner {
					t.Fatal("the wrong replica plans")
				}
				w.Engine.Next(fake.Open, 1, fake.Fault{Delay: time.Hour})
				cut := world.Creating(t.Context(), planner, world.Request("t", world.RepoA))
				time.Sleep(500 * time.Millisecond)
				reach.Cut.Store(true)
				begun := time.Now()
				s := world.Create(t, third, world.Request("t", world.RepoA))
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
