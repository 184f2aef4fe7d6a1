package replica_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
)

// replicas returns the number of replicas in the pool's record. Each must have a lease.
func replicas(w *world.World) (n int) {
	w.T.Helper()
	w.View(func(v store.View) error {
		pool, err := store.Get[*store.Pool](v, store.PoolKey())
		if err != nil {
			return err
		}
		for _, r := range pool.Replicas {
			if _, err := v.Get(store.LeaseKey("replica/" + r)); err != nil {
				w.T.Errorf("replica %s: %v", r, err)
			}
		}
		n = len(pool.Replicas)
		return nil
	})
	return n
}

func TestDeadReplicasAreForgotten(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		other, reach := w.NewCutProvider()
		world.After(time.Second)
		if n := replicas(w); n != 2 {
			t.Fatalf("%d replicas of 2", n)
		}
		reach.Cut.Store(true)
		world.After(time.Minute)
		if n := replicas(w); n != 1 {
			t.Errorf("%d replicas, want the living one", n)
		}
		if n := other.Stats().Errors; n == 0 {
			t.Error("the statistics do not count that it cannot renew its lease")
		}
		reach.Cut.Store(false)
		world.After(time.Minute)
		if n := replicas(w); n != 2 {
			t.Errorf("%d replicas of 2: one has come back", n)
		}
		s := world.Create(t, other, world.Request("t", world.RepoA))
		other.Close()
		if n := replicas(w); n != 1 {
			t.Errorf("%d replicas of 1: the other has closed", n)
		}
		w.Terminate(s)
		world.After(time.Second)
		w.Empty()
	})
}

// TestReplicaIsNotForgottenBeforeItsWork: the sessions that it was creating are ended first.
func TestReplicaIsNotForgottenBeforeItsWork(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxTasksPerInstance: 1}}, func(t *testing.T, w *world.World) {
		held := w.Create("held", world.RepoA)
		other, reach := w.NewCutProvider()
		c := world.Creating(t.Context(), other, world.Request("t", world.RepoB))
		world.After(time.Second)
		reach.Cut.Store(true)
		<-c
		world.After(time.Minute)
		if n := replicas(w); n != 1 {
			t.Errorf("%d replicas, want the living one", n)
		}
		w.Terminate(held)
		world.After(time.Second)
		w.Empty()
	})
}

// TestUnknownOutcomeIsUndone: the reply to the commit that made a session is lost, and then the store cannot be
// reached. The caller gets an error, so the session must not stay.
func TestUnknownOutcomeIsUndone(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		other, reach := w.NewCutProvider()
		w.Terminate(w.Create("before", world.RepoA)) // an instance is up
		reach.Lose.Store(true)
		if _, err := other.CreateSession(t.Context(), world.Request("t", world.RepoA)); !errors.Is(err, world.ErrCut) {
			t.Errorf("%v, want %v", err, world.ErrCut)
		}
		if n := len(w.OpenSessions()); n != 1 {
			t.Fatalf("%d sessions: the one whose commit was not confirmed should be there", n)
		}
		reach.Cut.Store(false)
		world.After(5 * time.Second) // much less than the term of a lease, so the replica itself must undo it
		w.Empty()
	})
}

// TestReplicaThatIsForgottenAndComesBackIsAlive: the replica makes its lease again, and the others must not mistake it
// for the removed one.
func TestReplicaThatIsForgottenAndComesBackIsAlive(t *testing.T) {
	for away := 14 * time.Second; away < 24*time.Second; away += time.Second / 2 {
		t.Run(away.String(), func(t *testing.T) {
			world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
				w.Terminate(w.Create("before", world.RepoA))
				other, reach := w.NewCutProvider()
				time.Sleep(1100 * time.Millisecond) // it has made its lease and not renewed it yet
				reach.Cut.Store(true)
				time.Sleep(away)
				reach.Cut.Store(false)
				for replicas(w) != 2 {
					time.Sleep(50 * time.Millisecond)
				}
				w.Engine.Next(fake.Open, 1, fake.Fault{Delay: 3 * time.Second})
				s := world.Create(t, other, world.Request("t", world.RepoA))
				w.Terminate(s)
				w.Empty()
			})
		})
	}
}

// TestOneReplicaPlans: the first replica is the planner until it is closed or cut off from the store. Then another one
// is.
func TestOneReplicaPlans(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		world.After(time.Second)
		second, reach := w.NewCutProvider()
		world.After(time.Second)
		plan := func(when string, want ...bool) {
			t.Helper()
			for i, p := range []*berth.Provider{w.Provider, second} {
				if got := p.Stats().Planner; got != want[i] {
					t.Errorf("%s: replica %d plans: %v", when, i, got)
				}
			}
		}
		plan("at first", true, false)
		w.Provider.Close()
		world.After(time.Second)
		plan("after the planner has closed", false, true)
		reach.Cut.Store(true)
		world.After(time.Minute)
		plan("when it is cut off", false, false)
	})
}
