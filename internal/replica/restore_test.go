package replica_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// TestSessionsThatNobodyKnowsAreClosed: the store was restored from a backup without a session. Its place in the
// container, and its uid, are free again when the next process uses that container.
func TestSessionsThatNobodyKnowsAreClosed(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world.World) {
		kept, lost := w.Create("kept", world.RepoA), w.Create("lost", world.RepoA)
		w.Close()
		w.Edit(lost.ID(), func(tx store.Tx, s *store.Session, c *store.Container) error {
			in, err := store.Get[*store.Instance](tx, store.InstanceKey(s.Instance))
			if err != nil {
				return err
			}
			user, err := store.Get[*store.User](tx, store.UserKey(s.UserID))
			if err != nil {
				return err
			}
			c.Sessions--
			user.Sessions--
			in.Sessions--
			in.UIDs.Free(s.UID)
			for _, r := range []store.Record{c, in, user} {
				if err := tx.Put(r); err != nil {
					return err
				}
			}
			if err := tx.Delete(s.Key()); err != nil {
				return err
			}
			return tx.Delete(store.TaskKey("lost"))
		})
		w.Provider = w.NewProvider()
		next := w.Create("next", world.RepoA)
		open := make(map[string]bool)
		for _, c := range w.Engine.Containers() {
			for _, s := range c.Sessions {
				open[s.ID] = true
			}
		}
		if len(open) != 2 || !open[kept.ID()] || !open[next.ID()] {
			t.Errorf("the open sessions are %v; want %s and %s", open, kept.ID(), next.ID())
		}
	})
}

// TestSessionThatItsContainerDoesNotHaveIsEnded: the store was restored from a backup in which the session had not
// ended yet. Without an end, it would be found and could not be used.
func TestSessionThatItsContainerDoesNotHaveIsEnded(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world.World) {
		kept := w.Create("kept", world.RepoA)
		w.Close()
		w.Edit(kept.ID(), func(tx store.Tx, s *store.Session, c *store.Container) error {
			s.ID, s.TaskID = "s-ended", "ended"
			uid, err := pool.Place(tx, s.Instance)
			if err != nil {
				return err
			}
			s.UID = uid
			if err := orchestrator.Join(tx, c, nil, s); err != nil {
				return err
			}
			if err := tx.Put(&store.Task{ID: s.TaskID, Session: s.ID}); err != nil {
				return err
			}
			if err := tx.Put(&store.User{ID: s.UserID, Sessions: 2}); err != nil {
				return err
			}
			return tx.Put(s)
		})
		w.Provider = w.NewProvider()
		s, err := w.GetSession(t.Context(), "s-ended")
		if err != nil || s.Info().State != berth.SessionActive {
			t.Fatalf("%v, %v", s, err)
		}
		world.After(2 * time.Minute)
		if !errors.Is(s.Err(), berth.ErrContainerLost) {
			t.Errorf("it ended by %v; want ErrContainerLost", s.Err())
		}
		if out, err := world.Get(t, w.Provider, kept.ID()).Command(t.Context(), "true").Output(); err != nil {
			t.Errorf("the other one: %s, %v", out, err)
		}
	})
}

// TestSessionOfAnEarlierContainerIsEnded: the store was restored from a backup. Another container of the same name had
// replaced the session's container since.
func TestSessionOfAnEarlierContainerIsEnded(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world.World) {
		id := w.Create("t", world.RepoA).ID()
		w.Close()
		w.Edit(id, func(tx store.Tx, s *store.Session, c *store.Container) error {
			c.EngineID, s.EngineID = "earlier", "earlier"
			if err := tx.Put(s); err != nil {
				return err
			}
			return tx.Put(c)
		})
		w.Provider = w.NewProvider()
		s := world.Get(t, w.Provider, id)
		world.After(2 * time.Minute)
		if !errors.Is(s.Err(), berth.ErrContainerLost) {
			t.Errorf("it ended by %v; want ErrContainerLost", s.Err())
		}
		w.Create("t", world.RepoA)
	})
}

// TestContainersOfAnEarlierProcessAreAttachedTo: an agent without a process attached to it takes its pool for dead
// after some hours, and ends.
func TestContainersOfAnEarlierProcessAreAttachedTo(t *testing.T) {
	var attached atomic.Int64
	engine := fake.EngineOptions{Fault: func(c fake.Call) fake.Fault {
		if c.Verb == fake.Attach {
			attached.Add(1)
		}
		return fake.Fault{}
	}}
	world.Run(t, world.Setup{Engine: engine, Config: berth.Config{SessionIdleTimeout: -1}}, func(t *testing.T, w *world.World) {
		w.Create("t", world.RepoA)
		w.Close()
		attached.Store(0)
		w.Provider = w.NewProvider()
		world.After(2 * time.Minute)
		if n := attached.Load(); n != 1 {
			t.Errorf("the process has attached %d times, want once", n)
		}
	})
}

// TestContainersOfALostStoreAreToldOfAtOnce: operators look at the log of the start, so the containers must be reported
// there.
func TestContainersOfALostStoreAreToldOfAtOnce(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world.World) {
		for len(w.InstanceRecords()) == 0 || w.InstanceRecords()[0].State == store.InstanceLaunching {
			time.Sleep(100 * time.Millisecond)
		}
		host := w.InstanceRecords()[0].ID
		w.Engine.PlantContainer(host, "berth", "another store's", naming.Key{Repository: naming.Repository{Host: "github.com", Path: "acme/theirs"}})
		for w.InstanceRecords()[0].State != store.InstanceReady {
			time.Sleep(100 * time.Millisecond)
		}
		world.After(5 * time.Second)
		if n := w.Stats().Containers.Foreign; n != 1 {
			t.Errorf("the statistics count %d foreign containers, want 1", n)
		}
	})
}

// TestContainerThatCannotBeVisitedIsTold: the statistics count each failure to attach to a container whose agent does
// not answer.
func TestContainerThatCannotBeVisitedIsTold(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{SessionIdleTimeout: -1}}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		w.Close()
		w.Engine.Hang(fake.Attach)
		w.Provider = w.NewProvider()
		world.After(3 * time.Minute)
		if n := w.Stats().Containers.Errors; n < 2 {
			t.Errorf("the statistics count %d failures, want at least 2", n)
		}
		w.Engine.Heal()
		world.After(2 * time.Minute)
		if err := world.Get(t, w.Provider, s.ID()).Command(t.Context(), "true").Run(); err != nil {
			t.Error(err)
		}
	})
}
