package sim

import (
	"context"
	"fmt"
	"slices"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// snapshot is all that the store holds at one moment.
type snapshot struct {
	pool       *store.Pool
	instances  map[string]*store.Instance
	containers map[string]*store.Container
	sharings   map[string]*store.Sharing // of the containers
	sessions   []*store.Session
	tasks      map[string]*store.Task // of the sessions
	users      map[string]*store.User // of the sessions
}

func (w *world) snapshot() *snapshot {
	s := &snapshot{
		instances: make(map[string]*store.Instance), containers: make(map[string]*store.Container),
		sharings: make(map[string]*store.Sharing), tasks: make(map[string]*store.Task), users: make(map[string]*store.User),
	}
	page := store.Page{Limit: store.MaxLimit}
	err := w.store.View(context.Background(), func(v store.View) (err error) {
		if s.pool, err = store.Find[*store.Pool](v, store.PoolKey()); err != nil {
			return err
		}
		instances, err := v.Instances(store.InstanceQuery{Page: page})
		if err != nil {
			return err
		}
		for _, in := range instances {
			s.instances[in.ID] = in
		}
		containers, err := v.Containers(store.ContainerQuery{Page: page})
		if err != nil {
			return err
		}
		for _, c := range containers {
			s.containers[c.ID] = c
			if s.sharings[c.Name], err = store.Find[*store.Sharing](v, store.SharingKey(c.Name)); err != nil {
				return err
			}
		}
		if s.sessions, err = v.Sessions(store.SessionQuery{Page: page}); err != nil {
			return err
		}
		for _, x := range s.sessions {
			if s.tasks[x.TaskID], err = store.Find[*store.Task](v, store.TaskKey(x.TaskID)); err != nil {
				return err
			}
			if s.users[x.UserID], err = store.Find[*store.User](v, store.UserKey(x.UserID)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	return s
}

// inconsistencies returns what does not fit together in the store.
func (s *snapshot) inconsistencies(cfg berth.Config) (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	perInstance, perContainer, perUser := make(map[string]int), make(map[string]int), make(map[string]int)
	queued := 0
	uids := make(map[string]string)
	unended := make(map[string]string)
	for _, x := range s.sessions {
		if x.State == store.SessionEnded {
			continue
		}
		if other := unended[x.TaskID]; other != "" {
			add("task %s has the sessions %s and %s", x.TaskID, other, x.ID)
		}
		unended[x.TaskID] = x.ID
		if task := s.tasks[x.TaskID]; task == nil || task.Session != x.ID {
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
		if c := s.containers[x.Container]; c == nil && s.instances[x.Instance] != nil {
			add("session %s (%s) has no container record", x.ID, x.State)
		} else if c != nil && c.SharingKey != x.SharingKey {
			add("session %s on %s is in the container of %s", x.ID, x.SharingKey, c.SharingKey)
		}
	}
	if s.pool != nil && (s.pool.Queued != queued || s.pool.Instances != len(s.instances)) {
		add("the pool counts %d queued of %d, %d instances of %d", s.pool.Queued, queued, s.pool.Instances, len(s.instances))
	}
	for id, in := range s.instances {
		if in.Sessions != perInstance[id] || in.Sessions > in.Slots || in.UIDs.Len() != in.Sessions {
			add("instance %s counts %d sessions and %d uids of %d, on %d slots", id, in.Sessions, in.UIDs.Len(), perInstance[id], in.Slots)
		}
	}
	for id, user := range s.users {
		if held := perUser[id]; user == nil && held > 0 || user != nil && user.Sessions != held {
			add("user %s holds %d slots, and is counted as %+v", id, held, user)
		}
	}
	joinable := make(map[string]int)
	for id, c := range s.containers {
		if c.Sessions != perContainer[id] {
			add("container %s counts %d sessions of %d", c.Name, c.Sessions, perContainer[id])
		}
		if sharing := s.sharings[c.Name]; sharing == nil || !slices.Contains(sharing.Containers, id) {
			add("container %s is not listed under its key", c.Name)
		}
		if orchestrator.Joinable(c, s.instances[c.Instance]) {
			joinable[c.Name]++
		}
	}
	for name, n := range joinable {
		if n > cfg.MaxContainersPerRepository {
			add("%d joinable containers %s", n, name)
		}
	}
	return faults
}
