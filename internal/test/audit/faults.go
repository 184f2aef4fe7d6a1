package audit

import (
	"fmt"
	"slices"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Faults returns what does not fit together, where a sharing key may have so many joinable containers.
func (s *Snapshot) Faults(maxContainers int) []string {
	f := &faults{
		Snapshot: s, perInstance: make(map[string]int), perContainer: make(map[string]int), perUser: make(map[string]int), perUserQueued: make(map[string]int),
	}
	f.sessions()
	f.counts()
	f.containers(maxContainers)
	return f.found
}

// faults looks for the faults of a snapshot.
type faults struct {
	*Snapshot
	found []string

	// Of the sessions that have not ended:

	queued                             int
	perInstance, perContainer, perUser map[string]int // those that have a place
	perUserQueued                      map[string]int
}

func (f *faults) add(format string, args ...any) {
	f.found = append(f.found, fmt.Sprintf(format, args...))
}

// sessions checks the sessions that have not ended, and counts them.
func (f *faults) sessions() {
	unended := make(map[string]string) // by task
	uids := make(map[string]string)    // sessions by instance and uid
	for _, x := range f.Sessions {
		if x.State == store.SessionEnded {
			continue
		}
		if other := unended[x.TaskID]; other != "" {
			f.add("task %s has the sessions %s and %s", x.TaskID, other, x.ID)
		}
		unended[x.TaskID] = x.ID
		if task := f.Tasks[x.TaskID]; task == nil || task.Session != x.ID {
			f.add("task %s is not that of its session %s", x.TaskID, x.ID)
		}
		if x.Queued {
			f.queued++
			f.perUserQueued[x.UserID]++
			continue
		}
		f.perInstance[x.Instance]++
		f.perContainer[x.Container]++
		f.perUser[x.UserID]++
		uid := fmt.Sprint(x.Instance, " ", x.UID)
		if other := uids[uid]; other != "" {
			f.add("sessions %s and %s have one uid", x.ID, other)
		}
		uids[uid] = x.ID
		if c := f.Containers[x.Container]; c == nil && f.Instances[x.Instance] != nil {
			f.add("session %s (%s) has no container record", x.ID, x.State)
		} else if c != nil && c.SharingKey != x.SharingKey {
			f.add("session %s on %s is in the container of %s", x.ID, x.SharingKey, c.SharingKey)
		}
	}
}

// counts checks what the pool, its instances and its users count.
func (f *faults) counts() {
	if f.Pool != nil && (f.Pool.Queued != f.queued || f.Pool.Instances != len(f.Instances)) {
		f.add("the pool counts %d queued of %d, %d instances of %d", f.Pool.Queued, f.queued, f.Pool.Instances, len(f.Instances))
	}
	for id, in := range f.Instances {
		if len(in.Empties) > 0 && in.Sessions+len(in.Empties) > in.Slots {
			f.add("instance %s has %d sessions and %d empty containers on %d slots", id, in.Sessions, len(in.Empties), in.Slots)
		}
		if in.Sessions != f.perInstance[id] || in.Sessions > in.Slots || in.UIDs.Len() != in.Sessions {
			f.add("instance %s counts %d sessions and %d uids of %d, on %d slots", id, in.Sessions, in.UIDs.Len(), f.perInstance[id], in.Slots)
		}
	}
	for id, user := range f.Users {
		held, waiting := f.perUser[id], f.perUserQueued[id]
		switch {
		case user == nil && held+waiting > 0, user != nil && (user.Sessions != held || user.Queued != waiting):
			f.add("user %s holds %d slots, waits with %d, and is counted as %+v", id, held, waiting, user)
		case user != nil && held+waiting+len(user.Starts)+int(user.Revocations) == 0:
			f.add("user %s has nothing, and has a record", id)
		}
	}
}

// containers checks the containers, and how many of a sharing key can be joined.
func (f *faults) containers(most int) {
	joinable := make(map[string]int)
	listed := make(map[string]string) // instances, by empty container
	for id, in := range f.Instances {
		for _, e := range in.Empties {
			listed[e.Container] = id
			if c := f.Containers[e.Container]; c == nil || c.Instance != id || c.Sessions > 0 || c.State == store.ContainerStopping {
				f.add("instance %s lists %+v as empty, which is %+v", id, e, c)
			}
		}
	}
	for id, c := range f.Containers {
		if c.Sessions != f.perContainer[id] {
			f.add("container %s counts %d sessions of %d", c.Name, c.Sessions, f.perContainer[id])
		}
		if sharing := f.Sharings[c.Name]; sharing == nil || !slices.Contains(sharing.Containers, id) {
			f.add("container %s is not listed under its key", c.Name)
		}
		if c.Sessions == 0 && c.State != store.ContainerStopping && listed[id] == "" && f.Instances[c.Instance] != nil {
			f.add("container %s is %s, has no session and is not listed as empty", c.Name, c.State)
		}
		if orchestrator.Joinable(c, f.Instances[c.Instance]) {
			joinable[c.Name]++
		}
	}
	for name, n := range joinable {
		if n > most {
			f.add("%d joinable containers %s", n, name)
		}
	}
}
