package session

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/store"
)

// statuses holds the Status of each session that this process knows and that has not ended.
type statuses struct {
	closing   context.Context // ends when no creation begins any more
	creations atomic.Int64    // that are under way

	mu   sync.Mutex // protects byID
	byID map[string]*Status
}

// creating records that this process creates a session. The returned function says that it has finished.
func (k *statuses) creating(id string, cancel context.CancelCauseFunc) (finished func()) {
	s := &Status{cancel: cancel, created: make(chan struct{})}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byID[id] = s
	k.creations.Add(1)
	if k.closing.Err() != nil {
		cancel(errs.ErrClosed)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cancel = nil
		close(s.created)
		k.creations.Add(-1)
	}
}

// beingCreated reports whether this process is creating a session.
func (k *statuses) beingCreated(id string) bool {
	k.mu.Lock()
	s := k.byID[id]
	k.mu.Unlock()
	return s != nil && s.underCreation()
}

// of returns the Status of a session, and makes it if there is none.
func (k *statuses) of(id string) *Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.byID[id]
	if s == nil {
		s = new(Status)
		k.byID[id] = s
	}
	return s
}

// has reports whether there is a Status of a session.
func (k *statuses) has(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.byID[id] != nil
}

// end drops the Status of a session that has ended, and tells those that wait for the end.
func (k *statuses) end(id string, err error) {
	k.mu.Lock()
	s := k.byID[id]
	delete(k.byID, id)
	k.mu.Unlock()
	if s != nil {
		s.End(err)
	}
}

// created returns the sessions that this process is not creating: all of them, or those whose end a caller waits for.
func (k *statuses) created(all bool) (ids []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, s := range k.byID {
		if (all || s.watched()) && !s.underCreation() {
			ids = append(ids, id)
		}
	}
	return ids
}

// interrupt ends the creations that are under way with an error.
func (k *statuses) interrupt(cause error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.byID {
		s.interrupt(cause)
	}
}

// Status returns the Status of a session, by its record.
func (m *Manager) Status(r *store.Session) *Status {
	if r.State == store.SessionEnded {
		return &Status{ended: true, err: m.endError(r)}
	}
	return m.known.of(r.ID)
}

// forget drops what this process knows of a session that has ended, and tells those that wait for the end.
func (m *Manager) forget(id string, err error) {
	m.observed.forget(id)
	m.known.end(id, err)
}

// Noticed records that a session has ended, as its record says, and returns why.
func (m *Manager) Noticed(r *store.Session) error {
	err := m.endError(r)
	m.forget(r.ID, err)
	return err
}
