package berth_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// edit changes what the store has of a session and its container, as one that is set back to a backup does.
func (w *world) edit(id string, change func(tx store.Tx, s *store.Session, c *store.Container) error) {
	w.t.Helper()
	err := w.store.Update(w.t.Context(), nil, func(tx store.Tx) error {
		s, err := store.Get[*store.Session](tx, store.SessionKey(id))
		if err != nil {
			return err
		}
		c, err := store.Get[*store.Container](tx, store.ContainerKey(s.Container))
		if err != nil {
			return err
		}
		return change(tx, s, c)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestSessionsThatNobodyKnowsAreClosed forgets a session, as a store does that is set back to a backup: its place in the
// container, and with it its uid, is free again when the next process uses that container.
func TestSessionsThatNobodyKnowsAreClosed(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world) {
		kept, lost := w.create("kept", repoA), w.create("lost", repoA)
		w.Close()
		w.edit(lost.ID(), func(tx store.Tx, s *store.Session, c *store.Container) error {
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
		w.Provider = w.provider()
		next := w.create("next", repoA)
		open := make(map[string]bool)
		for _, c := range w.engine.Containers() {
			for _, s := range c.Sessions {
				open[s.ID] = true
			}
		}
		if len(open) != 2 || !open[kept.ID()] || !open[next.ID()] {
			t.Errorf("open are %v; want %s and %s", open, kept.ID(), next.ID())
		}
	})
}

// TestSessionThatItsContainerDoesNotHaveIsEnded: the store was set back to a backup in which the session had not ended
// yet. It would be found and could not be used.
func TestSessionThatItsContainerDoesNotHaveIsEnded(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world) {
		kept := w.create("kept", repoA)
		w.Close()
		w.edit(kept.ID(), func(tx store.Tx, s *store.Session, c *store.Container) error {
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
		w.Provider = w.provider()
		s, err := w.GetSession(t.Context(), "s-ended")
		if err != nil || s.Info().State != berth.SessionActive {
			t.Fatalf("%v, %v", s, err)
		}
		after(2 * time.Minute)
		if !errors.Is(s.Err(), berth.ErrContainerLost) {
			t.Errorf("it ended by %v; want ErrContainerLost", s.Err())
		}
		if out, err := mustGet(t, w, kept.ID()).Command(t.Context(), "true").Output(); err != nil {
			t.Errorf("the other one: %s, %v", out, err)
		}
	})
}

func mustGet(t *testing.T, w *world, id string) *berth.Session {
	t.Helper()
	s, err := w.GetSession(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSessionOfAnEarlierContainerIsEnded: its container was replaced by another one of the same name after the backup was
// made to which the store was set back.
func TestSessionOfAnEarlierContainerIsEnded(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world) {
		id := w.create("t", repoA).ID()
		w.Close()
		w.edit(id, func(tx store.Tx, s *store.Session, c *store.Container) error {
			c.EngineID, s.EngineID = "earlier", "earlier"
			if err := tx.Put(s); err != nil {
				return err
			}
			return tx.Put(c)
		})
		w.Provider = w.provider()
		s := mustGet(t, w, id)
		after(2 * time.Minute)
		if !errors.Is(s.Err(), berth.ErrContainerLost) {
			t.Errorf("it ended by %v; want ErrContainerLost", s.Err())
		}
		w.create("t", repoA)
	})
}

// TestContainersOfAnEarlierProcessAreAttachedTo: an agent that no process is attached to for hours takes its pool for
// dead, and ends.
func TestContainersOfAnEarlierProcessAreAttachedTo(t *testing.T) {
	var attached atomic.Int64
	engine := fake.EngineOptions{Fault: func(c fake.Call) fake.Fault {
		if c.Verb == fake.Attach {
			attached.Add(1)
		}
		return fake.Fault{}
	}}
	inWorld(t, setup{Engine: engine, Config: berth.Config{SessionIdleTimeout: -1}}, func(t *testing.T, w *world) {
		w.create("t", repoA)
		w.Close()
		attached.Store(0)
		w.Provider = w.provider()
		after(2 * time.Minute)
		if n := attached.Load(); n != 1 {
			t.Errorf("the process has attached %d times, want once", n)
		}
	})
}

// TestContainersOfALostStoreAreToldOfAtOnce: the host's operator looks at the log of the start.
func TestContainersOfALostStoreAreToldOfAtOnce(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world) {
		for len(w.instances()) == 0 || w.instances()[0].State == store.InstanceLaunching {
			time.Sleep(100 * time.Millisecond)
		}
		host := w.instances()[0].ID
		w.engine.PlantContainer(host, "berth", "another store's", naming.Key{Repository: naming.Repository{Host: "github.com", Path: "acme/theirs"}})
		for w.instances()[0].State != store.InstanceReady {
			time.Sleep(100 * time.Millisecond)
		}
		after(5 * time.Second)
		if n := w.Stats().Containers.Foreign; n != 1 {
			t.Errorf("Stats tell of %d containers, want 1", n)
		}
	})
}

// TestContainerThatCannotBeVisitedIsTold: nobody else may notice that its agent does not answer.
func TestContainerThatCannotBeVisitedIsTold(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{SessionIdleTimeout: -1}}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		w.Close()
		w.engine.Hang(fake.Attach)
		w.Provider = w.provider()
		after(3 * time.Minute)
		if n := w.Stats().Containers.Errors; n < 2 {
			t.Errorf("%d failures are counted of several visits", n)
		}
		w.engine.Heal()
		after(2 * time.Minute)
		if err := mustGet(t, w, s.ID()).Command(t.Context(), "true").Run(); err != nil {
			t.Error(err)
		}
	})
}
