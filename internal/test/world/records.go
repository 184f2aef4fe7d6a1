package world

import (
	"context"

	"github.com/berth-go/berth/store"
)

// View reads the store.
func (w *World) View(fn func(store.View) error) {
	w.T.Helper()
	if err := w.Store.View(context.Background(), fn); err != nil {
		w.T.Fatal(err)
	}
}

// InstanceRecords returns the records of all instances.
func (w *World) InstanceRecords() (all []*store.Instance) {
	w.T.Helper()
	w.View(func(v store.View) (err error) { all, err = v.Instances(store.InstanceQuery{}); return err })
	return all
}

// ContainerRecords returns the records of all containers.
func (w *World) ContainerRecords() (all []*store.Container) {
	w.T.Helper()
	w.View(func(v store.View) (err error) { all, err = v.Containers(store.ContainerQuery{}); return err })
	return all
}

// OpenSessions returns the records of the sessions that have not ended.
func (w *World) OpenSessions() (all []*store.Session) {
	w.T.Helper()
	w.View(func(v store.View) (err error) {
		all, err = v.Sessions(store.SessionQuery{States: []store.SessionState{
			store.SessionCreating, store.SessionActive, store.SessionTerminating,
		}})
		return err
	})
	return all
}

// PoolUID returns the pool's identity in the store.
func (w *World) PoolUID() (uid string) {
	w.T.Helper()
	w.View(func(v store.View) error {
		pool, err := store.Get[*store.Pool](v, store.PoolKey())
		if err == nil {
			uid = pool.UID
		}
		return err
	})
	return uid
}

// Edit changes the records of a session and its container. Tests use it to stand for a store that was restored from a
// backup.
func (w *World) Edit(id string, change func(tx store.Tx, s *store.Session, c *store.Container) error) {
	w.T.Helper()
	err := w.Store.Update(w.T.Context(), nil, func(tx store.Tx) error {
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
		w.T.Fatal(err)
	}
}

// Empty fails the test if a session, container, checkout or slot is left.
func (w *World) Empty() {
	w.T.Helper()
	for _, s := range w.OpenSessions() {
		w.T.Errorf("the session of %s is left, in state %s", s.TaskID, s.State)
	}
	for _, c := range w.ContainerRecords() {
		w.T.Errorf("the record of container %s is left, in state %s with %d sessions", c.Name, c.State, c.Sessions)
	}
	for _, c := range w.Engine.Containers() {
		if c.Pool != "" {
			w.T.Errorf("container %s is left, with sessions %v", c.Name, c.Sessions)
		}
	}
	for _, in := range w.InstanceRecords() {
		if len(in.Empties) != 0 {
			w.T.Errorf("instance %s still lists empty containers: %+v", in.ID, in.Empties)
		}
		if in.Sessions != 0 || in.UIDs.Len() != 0 {
			w.T.Errorf("instance %s still holds %d slots and %d uids", in.ID, in.Sessions, in.UIDs.Len())
		}
	}
	w.View(func(v store.View) error {
		for _, id := range []string{User, OtherUser} {
			if user, err := store.Find[*store.User](v, store.UserKey(id)); err != nil || user != nil {
				w.T.Errorf("user %s still counts %+v, %v", id, user, err)
			}
		}
		return nil
	})
}
