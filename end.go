package berth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// TerminateSession ends a session: every process of it is killed, its checkout and all that it owned is removed, and
// if no other session holds its container, that is stopped and removed. It returns when all of this is done.
// Terminating an ended session succeeds; an unknown ID is ErrSessionNotFound. When ctx ends first, the work goes on.
func (p *Provider) TerminateSession(ctx context.Context, id string) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.calls.Done()
	if !isSessionID(id) {
		return fmt.Errorf("session %q: %w", id, ErrSessionNotFound)
	}
	for {
		e := p.end(id, store.Failure{Reason: endTerminated})
		select {
		case <-e.done:
			if !errors.Is(e.err, errAlive) { // else it was the end of a lease, which came to nothing
				return e.err
			}
		case <-ctx.Done():
			return fmt.Errorf("session %s: %w", id, context.Cause(ctx))
		}
	}
}

// ending is a session that this process is ending, for any number of callers.
type ending struct {
	done chan struct{} // closed when it has ended, and its container is gone if it was the last one
	err  error
}

// end begins to end a session, or joins the one who does. What it does outlives its caller.
func (p *Provider) end(id string, why store.Failure) *ending {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.ending[id]; e != nil {
		return e
	}
	e := &ending{done: make(chan struct{})}
	if p.stopped {
		e.err = ErrClosed
		close(e.done)
		return e
	}
	p.ending[id] = e
	p.ends.Go(func() {
		e.err = p.endPatiently(id, why)
		p.mu.Lock()
		delete(p.ending, id)
		p.mu.Unlock()
		close(e.done)
	})
	return e
}

// endPatiently ends a session however often the store fails, until this process is closed: then another takes over.
func (p *Provider) endPatiently(id string, why store.Failure) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		held, err := p.tenure.await(p.ctx)
		if err == nil {
			err = p.endSession(held, id, why)
		}
		switch {
		case err == nil, errors.Is(err, errAlive), errors.Is(err, ErrSessionNotFound), errors.Is(err, store.ErrClosed):
			return err
		case p.ctx.Err() != nil:
			return ErrClosed
		}
		p.failed("cannot end a session; trying again", err, "session", id)
		select {
		case <-p.ctx.Done():
		case <-time.After(pause):
		}
	}
}

// endSession ends a session, as long as ctx says that this process may act.
func (p *Provider) endSession(ctx context.Context, id string, why store.Failure) error {
	if why.Reason == endExpired {
		if used, err := p.stillUsed(ctx, id); err != nil || used {
			return cmp.Or(err, errAlive)
		}
	}
	s, wasActive, err := p.markTerminating(ctx, id, why)
	if err != nil {
		return err
	}
	if s.State != store.SessionEnded && s.Owner != p.replica { // another replica creates or ends it
		s, err = p.awaitEnd(ctx, s)
	}
	if err != nil || s == nil {
		return err
	}
	if s.State == store.SessionEnded {
		p.untrack(id, endError(s))
		if s.Owner != p.replica && (why.Reason == endStartFailed || why.Reason == endCancelled) {
			p.closeStray(ctx, s)
		}
		return p.orch.Stop(ctx, s.Container) // an earlier try, or another replica, may still be removing it
	}
	l := p.track(id)
	l.interrupt(endError(s))
	if err := l.created(ctx); err != nil { // nothing may be made behind our back
		return err
	}
	if !wasActive { // it may have been placed meanwhile
		if s, err = p.record(ctx, id); err != nil {
			return err
		}
	}
	if err := p.clean(ctx, s, wasActive); err != nil {
		return err
	}
	s, last, err := p.markEnded(ctx, s)
	if err != nil {
		return err
	}
	p.untrack(id, endError(s))
	p.stats.ended.Add(1)
	if s.End.Reason == endExpired {
		p.stats.expired.Add(1)
	}
	p.emit(EventSessionEnded, s, endError(s))
	p.wakeUp() // its slot is free
	if last {
		return p.orch.Stop(ctx, s.Container)
	}
	return nil
}

// closeStray closes a session that this process was creating when another took it for dead, and ended it: what was on
// its way to the container then may have arrived after that. If this fails, the orchestrator's sweep does it later.
func (p *Provider) closeStray(ctx context.Context, s *store.Session) {
	if s.Container == "" {
		return
	}
	if _, err := p.cleanOnce(ctx, s); err != nil {
		p.failed("cannot close a session that another process ended", err, "session", s.ID, "instance", s.Instance)
	}
}

// markTerminating stores that the session is being ended, and why, unless that is stored already. wasActive: it was
// active until then, so that it stays where it is.
func (p *Provider) markTerminating(ctx context.Context, id string, why store.Failure) (s *store.Session, wasActive bool, err error) {
	keys := []store.Key{store.SessionKey(id)}
	var planner *store.Lease // under which a lease is found to have ended
	if why.Reason == endExpired {
		if planner = p.plans.Load(); planner != nil {
			keys = append(keys, planner.Key())
		}
	}
	err = p.store.Update(ctx, keys, func(tx store.Tx) error {
		wasActive = false
		if s, err = store.Find[*store.Session](tx, store.SessionKey(id)); err != nil {
			return err
		}
		if s == nil {
			return fmt.Errorf("session %s: %w", id, ErrSessionNotFound)
		}
		switch s.State {
		case store.SessionActive:
			// Whoever thinks so has looked at an older record.
			if why.Reason == endExpired && !expired(s, time.Now()) || why.Reason == endAbandoned {
				return errAlive
			}
			if why.Reason == endExpired && planner == nil { // another process plans by now, and sees to it
				return errAlive
			}
			if planner != nil {
				if err := store.CheckFence(tx, *planner); err != nil {
					return err
				}
			}
			s.Owner, wasActive = p.replica, true
		case store.SessionCreating: // its creator notices
		default:
			return nil
		}
		s.State, s.End = store.SessionTerminating, why
		return tx.Put(s)
	})
	return s, wasActive, err
}

// closeInside removes what the session has inside its container, if this process is attached to that and it answers.
// It does not ask the store where the session is and whether it still has a container: so it is not for sessions of
// which that is in doubt.
func (p *Provider) closeInside(ctx context.Context, s *store.Session) (done bool) {
	if s.End.Reason != endTerminated && s.End.Reason != endExpired {
		return false
	}
	inside := p.orch.Attached(s.Container)
	if inside == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	err := inside.CloseSession(ctx, s.ID, s.UID)
	if err != nil && !errors.Is(err, agent.ErrGone) {
		p.failed(cannotClean, err, "session", s.ID, "instance", s.Instance)
	}
	return err == nil
}

const cannotClean = "cannot end a session in its container; trying again"

// clean removes what the session has inside its container. It tries until that is done, or there is no container any
// more. wasActive: the session was, when it was marked.
func (p *Provider) clean(ctx context.Context, s *store.Session, wasActive bool) error {
	if s.Container == "" || wasActive && p.closeInside(ctx, s) {
		return nil
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		done, err := p.cleanOnce(ctx, s)
		if done {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.failed(cannotClean, err, "session", s.ID, "instance", s.Instance)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// cleanTimeout bounds one try to remove a session from its container: killing is quick, removing a large checkout is
// not.
const cleanTimeout = 2 * time.Minute

func (p *Provider) cleanOnce(ctx context.Context, s *store.Session) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	var c *store.Container
	var in *store.Instance
	err = p.store.View(ctx, func(v store.View) (err error) {
		c, in, err = containerAndInstance(v, s.Container)
		return err
	})
	if err != nil {
		return false, err
	}
	if c == nil || c.State != store.ContainerReady || in == nil || in.State == store.InstanceLost {
		return true, nil // it was never opened, or goes with its container
	}
	inside, err := p.orch.Inside(ctx, c.ID)
	if err == nil {
		err = inside.CloseSession(ctx, s.ID, s.UID)
	}
	return err == nil || errors.Is(err, agent.ErrGone), err
}

// markEnded stores that the session has ended, and gives back its slot. last: it may have been its container's last,
// which is then to be stopped.
func (p *Provider) markEnded(ctx context.Context, is *store.Session) (s *store.Session, last bool, err error) {
	id := is.ID
	keys := []store.Key{is.Key(), store.TaskKey(is.TaskID)}
	if is.Queued {
		keys = append(keys, store.PoolKey())
	} else {
		keys = append(keys, store.ContainerKey(is.Container), store.InstanceKey(is.Instance), store.UserKey(is.UserID))
	}
	var seq uint64
	err = p.persist(ctx, keys, func(tx store.Tx) error {
		last, seq = false, 0
		if s, err = store.Get[*store.Session](tx, store.SessionKey(id)); err != nil {
			return err
		}
		if s.State == store.SessionEnded { // an earlier try was committed, and we were not told
			last = true
			return nil
		}
		if s.Owner != p.replica { // who may be about to kill what runs under its uid
			return errTakenOver
		}
		now := time.Now()
		task, err := store.Find[*store.Task](tx, store.TaskKey(s.TaskID))
		if err != nil {
			return err
		}
		if task != nil && task.Session == id {
			if err := tx.Delete(task.Key()); err != nil {
				return err
			}
		}
		if s.Queued {
			record, err := store.Get[*store.Pool](tx, store.PoolKey())
			if err != nil {
				return err
			}
			if seq, err = leaveQueue(tx, record); err != nil {
				return err
			}
		} else {
			stopping, err := p.unplace(tx, s, now)
			if err != nil {
				return err
			}
			last = stopping != nil
		}
		s.State, s.EndedAt, s.Queued = store.SessionEnded, now, false
		return tx.Put(s)
	})
	if err == nil {
		p.line.went(seq, s)
	}
	return s, last, err
}

// errTakenOver says that this process was silent for so long that another one ends the session by now.
var errTakenOver = errors.New("another process has taken over")

// ourStopping returns a container if it is this replica's to remove.
func (p *Provider) ourStopping(tx store.Tx, id string) (*store.Container, error) {
	c, err := store.Find[*store.Container](tx, store.ContainerKey(id))
	if err != nil || c == nil || c.State != store.ContainerStopping || c.Owner != p.replica || c.Sessions > 0 {
		return nil, err
	}
	return c, nil
}

// awaitEnd returns the session when it has ended, or is ours to end: its owner, another replica, may die. It returns
// nil when its record is gone.
func (p *Provider) awaitEnd(ctx context.Context, s *store.Session) (*store.Session, error) {
	wake, stop := p.store.Notify(s.Key())
	defer stop()
	for {
		now, err := p.find(ctx, s.ID)
		if err != nil || now == nil || now.State == store.SessionEnded || now.Owner == p.replica {
			return now, err
		}
		select {
		case <-wake:
		case <-time.After(poll):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// endAll ends every active session that a query finds, in the background. Those that are being created find out
// themselves that their container is gone, and look for another.
func (p *Provider) endAll(q store.SessionQuery, why store.Failure) {
	q.States = []store.SessionState{store.SessionActive}
	for s, err := range store.Sessions(p.ctx, p.store, q) {
		if err != nil {
			p.failed("cannot find the sessions to end", err, "why", why.Reason)
			return // the reaper finds them later
		}
		p.end(s.ID, why)
	}
}
