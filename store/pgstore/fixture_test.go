package pgstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// start is when every record of these tests begins.
var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// world is a pool with sessions in it, perContainer in each container, and one container on each instance.
type world struct {
	store.Store
	perContainer int
}

func instanceID(c int) string  { return fmt.Sprintf("i-%08d", c) }
func containerID(c int) string { return fmt.Sprintf("c-%08d", c) }
func name(c int) string        { return fmt.Sprintf("repo-acme-project-%d-1f3a9c07qz", c) }
func taskID(i int) string      { return fmt.Sprintf("task-%08d", i) }
func userID(i int) string      { return fmt.Sprintf("user-%d", i%1000) }
func sessionID(i int) string   { return fmt.Sprintf("s-%016x", i) } // in the order in which they are made, as real ones are

func sharingKey(c int) naming.Key {
	return naming.Key{Repository: naming.Repository{Host: "github.com", Path: fmt.Sprintf("acme/project-%d", c)}}
}

// session is one that is being created in a container.
func session(i, c int) *store.Session {
	return &store.Session{
		ID: sessionID(i), TaskID: taskID(i), UserID: userID(i), SharingKey: sharingKey(c), ContainerName: name(c),
		Remote: fmt.Sprintf("https://github.com/acme/project-%d.git", c), Branch: "main",
		Labels: map[string]string{"team": "blue"}, AuthorName: "Ada", AuthorEmail: "ada@example.com", IdleTimeout: time.Hour,
		State: store.SessionCreating, Owner: "replica-1", CreatedAt: start, Container: containerID(c), Instance: instanceID(c),
		UID: store.MinUID + i%100, Start: "attached",
	}
}

func activate(s *store.Session, now time.Time) {
	s.State, s.EngineID = store.SessionActive, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	s.Workdir, s.CheckedOut = "/berth/sessions/"+s.ID+"/project", "main"
	s.LeaseUntil = now.Add(time.Hour)
}

// fill makes n active sessions, and the first containers, some hundred records at a time.
func (w world) fill(tb testing.TB, n int) {
	tb.Helper()
	var records []store.Record
	flush := func() {
		w.update(tb, keysOf(records), func(tx store.Tx) error {
			for _, r := range records {
				if err := tx.Put(r); err != nil {
					return err
				}
			}
			return nil
		})
		records = nil
	}
	records = append(records, &store.Pool{UID: "p", Instances: n / w.perContainer})
	for i := range n {
		c := i / w.perContainer
		if i%w.perContainer == 0 {
			in := &store.Instance{ID: instanceID(c), State: store.InstanceReady, CreatedAt: start, CloudID: "i-0123456789abcdef0",
				Address: "10.0.0.1:2376", Slots: 40_000, Sessions: w.perContainer}
			for range w.perContainer {
				if _, err := in.UIDs.Take(); err != nil {
					tb.Fatal(err)
				}
			}
			records = append(records, in,
				&store.Sharing{ID: name(c), SharingKey: sharingKey(c), Containers: []string{containerID(c)}, Mirrors: []string{instanceID(c)}},
				&store.Container{ID: containerID(c), Name: name(c), SharingKey: sharingKey(c), Instance: instanceID(c),
					State: store.ContainerReady, Owner: "replica-1", Sessions: w.perContainer, CreatedAt: start})
		}
		s := session(-i-1, c)
		activate(s, start)
		records = append(records, s, &store.Task{ID: s.TaskID, Session: s.ID})
		if len(records) > 400 {
			flush()
		}
	}
	flush()
}

func (w world) update(tb testing.TB, keys []store.Key, fn func(store.Tx) error) {
	tb.Helper()
	if err := w.Update(context.Background(), keys, fn); err != nil {
		tb.Fatal(err)
	}
}

func keysOf(records []store.Record) []store.Key {
	var keys []store.Key
	for _, r := range records {
		keys = append(keys, r.Key())
	}
	return keys
}

// pair does what a provider does with its store for a CreateSession that attaches to a ready container, and for the
// TerminateSession that follows: four Updates and two Views.
func (w world) pair(ctx context.Context, i, c int) error {
	s := session(i, c)
	place := []store.Key{store.ContainerKey(s.Container), store.InstanceKey(s.Instance), store.UserKey(s.UserID)}
	admit := append([]store.Key{store.PoolKey(), store.SharingKey(s.ContainerName), s.Key(), store.TaskKey(s.TaskID)}, place...)
	err := w.Update(ctx, admit, func(tx store.Tx) error {
		if task, err := store.Find[*store.Task](tx, store.TaskKey(s.TaskID)); err != nil || task != nil {
			return fmt.Errorf("task %s is there: %v", s.TaskID, err)
		}
		if _, err := tx.Get(store.PoolKey()); err != nil {
			return err
		}
		if _, err := tx.Get(store.SharingKey(s.ContainerName)); err != nil {
			return err
		}
		if err := count(tx, s, 1, func(u *store.UIDs) (err error) { s.UID, err = u.Take(); return err }); err != nil {
			return err
		}
		if err := tx.Put(&store.Task{ID: s.TaskID, Session: s.ID}); err != nil {
			return err
		}
		return tx.Put(s)
	})
	if err != nil {
		return err
	}
	change := func(keys []store.Key, change func(tx store.Tx, s *store.Session) error) error {
		return w.Update(ctx, append(keys, s.Key()), func(tx store.Tx) error {
			s, err := store.Get[*store.Session](tx, s.Key())
			if err != nil {
				return err
			}
			if err := change(tx, s); err != nil {
				return err
			}
			return tx.Put(s)
		})
	}
	err = change([]store.Key{store.ContainerKey(s.Container)}, func(tx store.Tx, s *store.Session) error {
		activate(s, start)
		_, err := tx.Get(store.ContainerKey(s.Container))
		return err
	})
	if err != nil {
		return err
	}
	err = change(nil, func(_ store.Tx, s *store.Session) error {
		s.State, s.End = store.SessionTerminating, store.Failure{Reason: "terminated"}
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.look(ctx, s.Key()); err != nil {
		return err
	}
	if err := w.look(ctx, place[:2]...); err != nil {
		return err
	}
	return change(append(place, store.TaskKey(s.TaskID)), func(tx store.Tx, s *store.Session) error {
		s.State, s.EndedAt = store.SessionEnded, start
		if err := tx.Delete(store.TaskKey(s.TaskID)); err != nil {
			return err
		}
		return count(tx, s, -1, func(u *store.UIDs) error { u.Free(s.UID); return nil })
	})
}

// count adds to the sessions of a session's container, instance and user.
func count(tx store.Tx, s *store.Session, n int, uid func(*store.UIDs) error) error {
	c, err := store.Get[*store.Container](tx, store.ContainerKey(s.Container))
	if err != nil {
		return err
	}
	in, err := store.Get[*store.Instance](tx, store.InstanceKey(s.Instance))
	if err != nil {
		return err
	}
	user, err := store.Find[*store.User](tx, store.UserKey(s.UserID))
	if err != nil {
		return err
	}
	if user == nil {
		user = &store.User{ID: s.UserID}
	}
	c.Sessions, in.Sessions, user.Sessions = c.Sessions+n, in.Sessions+n, user.Sessions+n
	if err := uid(&in.UIDs); err != nil {
		return err
	}
	if user.Sessions == 0 {
		err = tx.Delete(user.Key())
	} else {
		err = tx.Put(user)
	}
	if err != nil {
		return err
	}
	if err := tx.Put(c); err != nil {
		return err
	}
	return tx.Put(in)
}

// look gets records in a View.
func (w world) look(ctx context.Context, keys ...store.Key) error {
	return w.View(ctx, func(v store.View) error {
		for _, key := range keys {
			if _, err := v.Get(key); err != nil {
				return err
			}
		}
		return nil
	})
}
