package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/internal/admission"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// errRenewed says that a session that was to expire was renewed, or was active after all: it has not ended.
var errRenewed = errors.New("the session's lease was renewed")

// errTakenOver says that this process was silent for so long that another one ends the session now.
var errTakenOver = errors.New("another process has taken over")

// An Ending is a session that this process is ending, for any number of callers.
type Ending struct {
	done chan struct{}
	err  error
}

// Done returns a channel that is closed when the session has ended, and its container is gone if it was the last one and the
// container does not stay empty.
func (e *Ending) Done() <-chan struct{} { return e.done }

// Err returns nil if the session has ended. It may be called when Done is closed.
func (e *Ending) Err() error { return e.err }

// Terminate ends a session, and returns when nothing is left of it. message says why; it may be empty. If ctx ends first,
// the work goes on. ErrSessionNotFound: there is no such session.
func (m *Manager) Terminate(ctx context.Context, id, message string) error {
	return m.terminate(ctx, id, store.Failure{Reason: store.EndTerminated, Message: message})
}

// terminate ends a session, as Terminate does, for a reason other than that its lease ran out.
func (m *Manager) terminate(ctx context.Context, id string, why store.Failure) error {
	for {
		e := m.End(ctx, id, why)
		select {
		case <-e.done:
			if !errors.Is(e.err, errRenewed) { // else an end of its lease was under way, and came to nothing
				return e.err
			}
		case <-ctx.Done():
			return fmt.Errorf("session %s: %w", id, context.Cause(ctx))
		}
	}
}

// End begins to end a session, or joins the end that is under way. The work belongs to the trace of ctx, and
// outlives ctx.
func (m *Manager) End(ctx context.Context, id string, why store.Failure) *Ending {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.ending[id]; e != nil {
		return e
	}
	e := &Ending{done: make(chan struct{})}
	if m.stopped {
		e.err = errs.ErrClosed
		close(e.done)
		return e
	}
	m.ending[id] = e
	m.ends.Go(func() {
		e.err = m.endPatiently(ctx, id, why)
		m.mu.Lock()
		delete(m.ending, id)
		m.mu.Unlock()
		close(e.done)
	})
	return e
}

// EndAll begins to end every active session that a query finds. A session that is being created finds out itself that its
// container is gone, and looks for another.
func (m *Manager) EndAll(q store.SessionQuery, why store.Failure) {
	q.States = []store.SessionState{store.SessionActive}
	for s, err := range store.Sessions(m.ctx, m.cfg.Store, q) {
		if err != nil {
			m.cfg.Failures.Report("cannot find the sessions to end", err, "why", why.Reason)
			return // the planner finds them later
		}
		m.End(m.ctx, s.ID, why)
	}
}

// endPatiently ends a session however often the store fails, until this process is closed: then another takes over. The
// work belongs to the trace of caller.
func (m *Manager) endPatiently(caller context.Context, id string, why store.Failure) (err error) {
	pauses := loop.Pauses{First: 100 * time.Millisecond, Longest: 5 * time.Second}
	closed := loop.Retry(m.ctx, pauses, func() bool {
		var acting context.Context
		if acting, err = m.cfg.Member.Acting(m.ctx); err == nil {
			err = m.end(m.cfg.Telemetry.Carry(acting, caller), id, why)
		}
		switch {
		case err == nil, errors.Is(err, errRenewed), errors.Is(err, errs.ErrSessionNotFound), errors.Is(err, store.ErrClosed):
			return true
		case m.ctx.Err() != nil:
			err = errs.ErrClosed
			return true
		}
		m.cfg.Failures.Report("cannot end a session; trying again", err, m.cfg.Telemetry.LogArgs(caller, "session", id)...)
		return false
	})
	if closed != nil {
		return errs.ErrClosed
	}
	return err
}

// end ends a session. ctx ends when this process may not act any more.
func (m *Manager) end(ctx context.Context, id string, why store.Failure) error {
	var beat uint64
	if why.Reason == store.EndExpired {
		var lapsed bool
		var err error
		if beat, lapsed, err = m.lapsed(ctx, id); err != nil || !lapsed {
			return cmp.Or(err, errRenewed)
		}
	}
	s, wasActive, err := m.markTerminating(ctx, id, why, beat)
	if err != nil {
		return err
	}
	if s.State != store.SessionEnded && s.Owner != m.cfg.Replica {
		if s, err = m.awaitOther(ctx, s); err != nil || s == nil {
			return err
		}
	}
	if s.State == store.SessionEnded {
		return m.endedAlready(ctx, s, why)
	}
	return m.endOurs(ctx, s, wasActive)
}

// awaitOther waits while another replica creates or ends the session. It returns the session when that has ended, or is
// this process's to end: the other may die. It returns nil when the record is gone.
func (m *Manager) awaitOther(ctx context.Context, s *store.Session) (*store.Session, error) {
	wake, stop := m.cfg.Store.Notify(s.Key())
	defer stop()
	for {
		now, err := store.Read[*store.Session](ctx, m.cfg.Store, s.Key())
		if err != nil || now == nil || now.State == store.SessionEnded || now.Owner == m.cfg.Replica {
			return now, err
		}
		if err := loop.Wait(ctx, poll, wake); err != nil {
			return nil, err
		}
	}
}

// endedAlready is the end of a session that an earlier try, or another replica, has ended.
func (m *Manager) endedAlready(ctx context.Context, s *store.Session, why store.Failure) error {
	m.Noticed(s)
	if s.Owner != m.cfg.Replica && (why.Reason == store.EndStartFailed || why.Reason == store.EndCancelled) {
		m.cleaner.closeStray(ctx, s)
	}
	return m.cfg.Containers.Stop(ctx, s.Container) // its container may still be being removed
}

// endOurs ends a session that this process owns: it removes the session from its container, and then gives back its place.
func (m *Manager) endOurs(ctx context.Context, s *store.Session, wasActive bool) (err error) {
	status := m.known.of(s.ID)
	status.interrupt(m.endError(s))
	if err := status.awaitCreation(ctx); err != nil { // nothing may be made meanwhile
		return err
	}
	if !wasActive { // the session may have got a place meanwhile
		if s, err = m.read(ctx, s.ID); err != nil {
			return err
		}
	}
	if s, err = (Owned{m}).runLast(ctx, s); err != nil {
		return err
	}
	if err := m.cleaner.clean(ctx, s, wasActive); err != nil {
		return err
	}
	s, released, err := m.markEnded(ctx, s)
	if err != nil {
		return err
	}
	m.Noticed(s)
	m.count.ended.Add(1)
	if s.End.Reason == store.EndExpired {
		m.count.expired.Add(1)
	}
	m.cfg.Events.Ended(s, m.endError(s))
	m.cfg.Queue.Wake() // the slot is free
	if released.Kept != nil {
		m.cfg.Events.Emptied(released.Kept)
	}
	if released.Last {
		return m.cfg.Containers.Stop(ctx, s.Container)
	}
	return nil
}

// markTerminating stores that the session is being ended, and why, unless that is stored already. wasActive: the session
// was active until then, so that it stays where it is. beat is the beat of the lease that was seen, for a session that
// expires.
func (m *Manager) markTerminating(ctx context.Context, id string, why store.Failure, beat uint64) (s *store.Session, wasActive bool, err error) {
	keys, expires := []store.Key{store.SessionKey(id)}, why.Reason == store.EndExpired
	planner := m.cfg.Member.Planner() // under whose lease a session is found to have expired
	if expires && planner != nil {
		keys = append(keys, planner.Key())
	}
	err = m.cfg.Store.Update(ctx, keys, func(tx store.Tx) error {
		wasActive = false
		if s, err = store.Find[*store.Session](tx, store.SessionKey(id)); err != nil {
			return err
		}
		if s == nil {
			return fmt.Errorf("session %s: %w", id, errs.ErrSessionNotFound)
		}
		switch s.State {
		case store.SessionActive:
			switch {
			case why.Reason == store.EndAbandoned, expires && s.Beat != beat: // the caller read an older version of the record
				return errRenewed
			case expires && planner == nil: // another process plans now, and looks for itself
				return errRenewed
			case expires:
				if err := store.CheckFence(tx, *planner); err != nil {
					return err
				}
			}
			s.Owner, wasActive = m.cfg.Replica, true
		case store.SessionCreating: // its creator notices
		default:
			return nil
		}
		s.State, s.End = store.SessionTerminating, why
		return tx.Put(s)
	})
	return s, wasActive, err
}

// markEnded stores that the session has ended, and gives back its place. released.Last: it may have been its container's last
// session; if the container is stopping, it is to be removed.
func (m *Manager) markEnded(ctx context.Context, seen *store.Session) (s *store.Session, released admission.Released, err error) {
	keys := []store.Key{seen.Key(), store.TaskKey(seen.TaskID)}
	if seen.Queued {
		keys = append(keys, store.PoolKey())
	} else {
		keys = append(keys, store.ContainerKey(seen.Container), store.InstanceKey(seen.Instance), store.UserKey(seen.UserID))
	}
	err = m.cfg.Retry.Update(ctx, keys, func(tx store.Tx) error {
		released = admission.Released{}
		if s, err = store.Get[*store.Session](tx, seen.Key()); err != nil {
			return err
		}
		if s.State == store.SessionEnded { // an earlier try was committed, and the reply was lost
			released.Last = true
			return nil
		}
		if s.Owner != m.cfg.Replica { // the new owner may be about to kill what runs under the session's uid
			return errTakenOver
		}
		task, err := store.Find[*store.Task](tx, store.TaskKey(s.TaskID))
		if err != nil {
			return err
		}
		if task != nil && task.Session == s.ID {
			if err := tx.Delete(task.Key()); err != nil {
				return err
			}
		}
		if released, err = m.cfg.Queue.Release(tx, s); err != nil {
			return err
		}
		s.State, s.EndedAt, s.Queued = store.SessionEnded, endTime(s, time.Now()), false
		return tx.Put(s)
	})
	if err == nil {
		m.cfg.Queue.AfterRelease(s, released)
	}
	return s, released, err
}

// endTime returns when a session ended that ends now. It is not before the session became active, which another process may have
// stored by a clock that is ahead: the bill counts the session's start and its time.
func endTime(s *store.Session, now time.Time) time.Time {
	if active := s.CreatedAt.Add(s.Waited + s.Took); s.Took > 0 && now.Before(active) {
		return active
	}
	return now
}
