// Package audit checks what must always hold between the records of a store: a tool of tests.
package audit

import (
	"context"

	"github.com/berth-go/berth/store"
)

// Snapshot is all that a store held at one moment.
type Snapshot struct {
	Pool       *store.Pool // nil if there is none
	Instances  map[string]*store.Instance
	Containers map[string]*store.Container
	Sharings   map[string]*store.Sharing // of the containers
	Sessions   []*store.Session
	Tasks      map[string]*store.Task // of the sessions
	Users      map[string]*store.User // of the sessions
}

// Take returns what a store holds.
func Take(ctx context.Context, st store.Store) (*Snapshot, error) {
	var s *Snapshot
	err := st.View(ctx, func(v store.View) (err error) {
		s = &Snapshot{
			Instances: make(map[string]*store.Instance), Containers: make(map[string]*store.Container),
			Sharings: make(map[string]*store.Sharing), Tasks: make(map[string]*store.Task), Users: make(map[string]*store.User),
		}
		return s.fill(v)
	})
	return s, err
}

func (s *Snapshot) fill(v store.View) (err error) {
	if s.Pool, err = store.Find[*store.Pool](v, store.PoolKey()); err != nil {
		return err
	}
	for in, err := range store.All(func(page store.Page) ([]*store.Instance, error) {
		return v.Instances(store.InstanceQuery{Page: page})
	}) {
		if err != nil {
			return err
		}
		s.Instances[in.ID] = in
	}
	for c, err := range store.All(func(page store.Page) ([]*store.Container, error) {
		return v.Containers(store.ContainerQuery{Page: page})
	}) {
		if err != nil {
			return err
		}
		s.Containers[c.ID] = c
		if s.Sharings[c.Name], err = store.Find[*store.Sharing](v, store.SharingKey(c.Name)); err != nil {
			return err
		}
	}
	for x, err := range store.All(func(page store.Page) ([]*store.Session, error) {
		return v.Sessions(store.SessionQuery{Page: page})
	}) {
		if err != nil {
			return err
		}
		s.Sessions = append(s.Sessions, x)
		if s.Tasks[x.TaskID], err = store.Find[*store.Task](v, store.TaskKey(x.TaskID)); err != nil {
			return err
		}
		if s.Users[x.UserID], err = store.Find[*store.User](v, store.UserKey(x.UserID)); err != nil {
			return err
		}
	}
	return nil
}
