package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/berth-go/berth/store"
)

// Isolation says what separates the sessions of a container from each other. With store.IsolationRooms, each has a room:
// namespaces of its own for processes, mounts and IPC, and a cgroup of its own, which bounds its memory, processes and
// processor time. With store.IsolationUID, sessions see each other's processes and share /tmp, memory and processors.
type Isolation struct {
	Level  store.Isolation
	Reason string // why there are no rooms, or what a room does not bound. "" = nothing
	// DiskQuota says that the kernel bounds what each session has on the disk. Otherwise that is measured.
	DiskQuota bool
	// SharedCheckouts says that the checkouts of sessions are mounts over the files of their commit, which they share. Otherwise git
	// writes the files of each checkout, and CheckoutReason says why.
	SharedCheckouts bool
	CheckoutReason  string
}

// NoRooms is the CheckoutReason where sessions have no rooms.
const NoRooms = "checkouts are mounted in rooms, and the sessions have none"

// ErrNoIsolation says that sessions would have no rooms, although these are required.
var ErrNoIsolation = errors.New("sessions would have no rooms of their own")

// IsolationError is the ErrNoIsolation of an engine.
type IsolationError struct{ Reason string }

// Error implements error.
func (e *IsolationError) Error() string {
	return fmt.Sprintf("%v, which Config.RequireIsolation asks for: %s. Let the engine run berth's warden (see \"Rooms\" in docs/operations.md), "+
		"or unset Config.RequireIsolation", ErrNoIsolation, e.Reason)
}

// Unwrap makes an IsolationError an ErrNoIsolation.
func (e *IsolationError) Unwrap() error { return ErrNoIsolation }

// isolations holds the instances of which this process knows that sessions there have no rooms, or that a room does not bound
// everything. The zero value is ready for use.
type isolations struct {
	mu    sync.Mutex // protects known
	known map[string]Isolation
}

// note records what an instance gives. It reports whether this process did not know yet that something is missing there.
func (i *isolations) note(instance string, now Isolation) (news bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.known[instance]
	switch {
	case now.Level == "": // not known
		return false
	case now.Reason == "" && now.Level == store.IsolationRooms:
		delete(i.known, instance)
		return false
	case i.known == nil:
		i.known = make(map[string]Isolation)
	}
	i.known[instance] = now
	return before.Level != now.Level
}

func (i *isolations) forget(instance string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.known, instance)
}

// withoutRooms counts the instances whose sessions have no rooms.
func (i *isolations) withoutRooms() (n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, known := range i.known {
		if known.Level == store.IsolationUID {
			n++
		}
	}
	return n
}

// noteIsolation notes what an instance gives its sessions. It logs once what is missing.
func (m *Manager) noteIsolation(instance string, now Isolation) {
	switch news := m.isolations.note(instance, now); {
	case !news:
	case now.Level == store.IsolationUID:
		m.cfg.Logger.Warn("sessions of this instance have no rooms of their own: a uid is all that separates them, and their "+
			"containers share memory, /tmp and the list of processes", "instance", instance, "reason", now.Reason)
	default:
		m.cfg.Logger.Warn("the rooms of this instance do not bound all that a session uses", "instance", instance, "reason", now.Reason)
	}
}

// isolationOf returns what the record of an instance says.
func isolationOf(in *store.Instance) Isolation {
	return Isolation{in.Isolation, in.IsolationReason, in.DiskQuota, in.SharedCheckouts, in.CheckoutReason}
}

// storeIsolation stores what the engine of an instance gives, if that is not what its record says. It is a start's result:
// a start that fails for lack of rooms says so, too.
func (m *Manager) storeIsolation(ctx context.Context, in *store.Instance, made Container, failed error) {
	now := made.Isolation
	if refused, ok := errors.AsType[*IsolationError](failed); ok {
		now = Isolation{Level: store.IsolationUID, Reason: refused.Reason, CheckoutReason: NoRooms}
	}
	if now.Level == "" || made.Adopted { // which says what its maker found
		return
	}
	m.noteIsolation(in.ID, now)
	now.Reason, now.CheckoutReason = Clean(now.Reason), Clean(now.CheckoutReason)
	if isolationOf(in) == now {
		return
	}
	err := m.cfg.Store.Update(ctx, []store.Key{in.Key()}, func(tx store.Tx) error {
		r, err := store.Find[*store.Instance](tx, in.Key())
		if err != nil || r == nil {
			return err
		}
		r.Isolation, r.IsolationReason, r.DiskQuota = now.Level, now.Reason, now.DiskQuota
		r.SharedCheckouts, r.CheckoutReason = now.SharedCheckouts, now.CheckoutReason
		return tx.Put(r)
	})
	if err != nil && ctx.Err() == nil { // the next start stores it
		m.failures.Report("cannot store what separates the sessions of an instance", err, "instance", in.ID)
	}
}

// CheckIsolation returns an ErrNoIsolation if Config.RequireIsolation is set and a container that this process is attached to
// gives its sessions no rooms. An earlier process may have made it without that setting.
func (m *Manager) CheckIsolation(ctx context.Context, container string) error {
	if !m.cfg.RequireIsolation {
		return nil
	}
	m.mu.Lock()
	k := m.keepers[container]
	m.mu.Unlock()
	if k == nil {
		return nil // it is gone, which the next call says
	}
	select {
	case <-k.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if k.isolation == store.IsolationRooms {
		return nil
	}
	return fmt.Errorf("%w, which Config.RequireIsolation asks for: the container was started without. It takes new sessions "+
		"when its present ones have ended", ErrNoIsolation)
}
