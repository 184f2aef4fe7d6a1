// Package audit checks what must always hold between the records of a store: a tool of tests.
package audit

import (
	"context"
	"fmt"
	"slices"

	"github.com/berth-go/berth/orchestrator"
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

// Faults returns what does not fit together, where a sharing key may have so many joinable containers.
func (s *Snapshot) Faults(maxContainers int) (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	perInstance, perContainer, perUser := make(map[string]int), make(map[string]int), make(map[string]int)
	queued := 0
	uids := make(map[string]string)
	unended := make(map[string]string)
	for _, x := range s.Sessions {
		if x.State == store.SessionEnded {
			continue
		}
		if other := unended[x.TaskID]; other != "" {
			add("task %s has the sessions %s and %s", x.TaskID, other, x.ID)
		}
		unended[x.TaskID] = x.ID
		if task := s.Tasks[x.TaskID]; task == nil || task.Session != x.ID {
			add("task %s is not that of its session %s", x.TaskID, x.ID)
		}
		if x.Queued {
			queued++
			continue
		}
		perInstance[x.Instance]++
		perContainer[x.Container]++
		perUser[x.UserID]++
		uid := fmt.Sprint(x.Instance, " ", x.UID)
		if other := uids[uid]; other != "" {
			add("sessions %s and %s have one uid", x.ID, other)
		}
		uids[uid] = x.ID
		if c := s.Containers[x.Container]; c == nil && s.Instances[x.Instance] != nil {
			add("session %s (%s) has no container record", x.ID, x.State)
		} else if c != nil && c.SharingKey != x.SharingKey {
			add("session %s on %s is in the container of %s", x.ID, x.SharingKey, c.SharingKey)
		}
	}
	if s.Pool != nil && (s.Pool.Queued != queued || s.Pool.Instances != len(s.Instances)) {
		add("the pool counts %d queued of %d, %d instances of %d", s.Pool.Queued, queued, s.Pool.Instances, len(s.Instances))
	}
	for id, in := range s.Instances {
		if in.Sessions != perInstance[id] || in.Sessions > in.Slots || in.UIDs.Len() != in.Sessions {
			add("instance %s counts %d sessions and %d uids of %d, on %d slots", id, in.Sessions, in.UIDs.Len(), perInstance[id], in.Slots)
		}
	}
	for id, user := range s.Users {
		if held := perUser[id]; user == nil && held > 0 || user != nil && user.Sessions != held {
			add("user %s holds %d slots, and is counted as %+v", id, held, user)
		}
	}
	joinable := make(map[string]int)
	for id, c := range s.Containers {
		if c.Sessions != perContainer[id] {
			add("container %s counts %d sessions of %d", c.Name, c.Sessions, perContainer[id])
		}
		if sharing := s.Sharings[c.Name]; sharing == nil || !slices.Contains(sharing.Containers, id) {
			add("container %s is not listed under its key", c.Name)
		}
		if orchestrator.Joinable(c, s.Instances[c.Instance]) {
			joinable[c.Name]++
		}
	}
	for name, n := range joinable {
		if n > maxContainers {
			add("%d joinable containers %s", n, name)
		}
	}
	return faults
}
