package replica_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
)

// TestProcessThatIsCutOffFromTheStoreIsSuspended: the other replicas take the process for dead, so its creations under
// way fail, and new ones are refused within a bounded time. The sessions that it was creating end as abandoned.
func TestProcessThatIsCutOffFromTheStoreIsSuspended(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		cut, reach := w.NewCutProvider()
		w.Create("holds", world.RepoA)
		w.Engine.Next(fake.Open, 1, fake.Fault{Delay: time.Hour})
		underWay := world.Creating(t.Context(), cut, world.Request("t", world.RepoA))
		time.Sleep(time.Second)
		var id string
		for s, err := range w.ListSessions(t.Context(), berth.SessionFilter{TaskID: "t"}) {
			if err != nil {
				t.Fatal(err)
			}
			id = s.ID()
		}
		abandoned := world.Get(t, w.Provider, id)
		reach.Cut.Store(true)
		if r := <-underWay; !errors.Is(r.Err, berth.ErrSuspended) {
			t.Errorf("the creation under way: %v; want ErrSuspended", r.Err)
		}
		begun := time.Now()
		_, err := cut.CreateSession(t.Context(), world.Request("u", world.RepoA))
		if !errors.Is(err, berth.ErrSuspended) {
			t.Errorf("a creation that begins now: %v; want ErrSuspended", err)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("it was refused after %v", took)
		}
		<-abandoned.Done()
		if !errors.Is(abandoned.Err(), berth.ErrAbandoned) {
			t.Errorf("its session, in another replica: %v; want ErrAbandoned", abandoned.Err())
		}
		reach.Cut.Store(false)
		time.Sleep(20 * time.Second)
		if _, err := cut.CreateSession(t.Context(), world.Request("u", world.RepoA)); err != nil {
			t.Errorf("when the store answers again: %v", err)
		}
	})
}
