package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// Before the checkout of a session is removed, the host's last function runs. The record of the session is terminating then, and says
// when the function is done. So a process that dies while it runs is followed by one that runs it again: the next owner of the session.

// Last is what a host does with a session that ends.
type Last struct {
	// Do returns what has become of the session's work. Its context ends after Timeout, and when this process may not act any more.
	// It may use the session as if that was active. nil = nothing is done
	Do      func(ctx context.Context, s *store.Session) Outcome
	Timeout time.Duration
}

// Outcome says what has become of the work of a session that ends.
type Outcome struct {
	Saved   string // where it is; "" = nowhere, or there is none
	Unsaved string // what could not be saved, and why; "" = all was
}

// returnGrace is how long the host's function may take to return when its context has ended.
const returnGrace = 5 * time.Second

// leavesTime reports whether the container and the session in it are there when the session ends.
func leavesTime(why store.EndReason) bool {
	return why == store.EndTerminated || why == store.EndExpired || why == store.EndLifetime || why == store.EndInterrupted
}

// due reports whether a session ends, and the host's last function for it is to run, or runs.
func (l Last) due(s *store.Session) bool {
	return l.Do != nil && s.State == store.SessionTerminating && !s.OnEndDone && s.Took != 0 && leavesTime(s.End.Reason)
}

// runLast runs the host's last function, unless that is done. It returns the record that says so.
func (m Owned) runLast(ctx context.Context, s *store.Session) (*store.Session, error) {
	if !m.cfg.Last.due(s) {
		return s, nil
	}
	running, cancel := context.WithTimeoutCause(ctx, m.cfg.Last.Timeout, fmt.Errorf("berth: Config.EndTimeout has passed: %w", context.DeadlineExceeded))
	defer cancel()
	done := make(chan Outcome, 1)
	go func() { done <- m.cfg.Last.Do(running, s) }()
	var out Outcome
	select {
	case out = <-done:
	case <-running.Done():
		select {
		case out = <-done:
		case <-time.After(returnGrace):
			out.Unsaved = fmt.Sprintf("Config.OnEnd does not return: %v", context.Cause(running))
		}
	}
	if ctx.Err() != nil { // this process may not act any more, or is being closed: another runs it again
		return nil, context.Cause(ctx)
	}
	out.Saved, out.Unsaved = orchestrator.Clean(out.Saved), orchestrator.Clean(out.Unsaved)
	if out.Unsaved != "" {
		m.cfg.Failures.Report("the work of a session could not be saved", fmt.Errorf("%w: %s", errs.ErrUnsaved, out.Unsaved), about(s)...)
	}
	return m.markLast(ctx, s, out)
}

// markLast stores that the host's last function is done.
func (m Owned) markLast(ctx context.Context, seen *store.Session, out Outcome) (s *store.Session, err error) {
	err = m.cfg.Retry.Update(ctx, []store.Key{seen.Key()}, func(tx store.Tx) error {
		if s, err = store.Get[*store.Session](tx, seen.Key()); err != nil {
			return err
		}
		if s.State != store.SessionTerminating || s.Owner != m.cfg.Replica {
			return errTakenOver
		}
		s.OnEndDone, s.Saved, s.Unsaved = true, out.Saved, out.Unsaved
		return tx.Put(s)
	})
	return s, err
}

// endInterrupted ends the sessions of instances that the cloud takes back within minutes, so that their work can be saved. Without a last
// function they go on until the instance is lost.
func (l *leader) endInterrupted(ctx context.Context) error {
	if l.cfg.Last.Do == nil {
		return nil
	}
	q := store.InstanceQuery{States: []store.InstanceState{store.InstanceCordoned}}
	for in, err := range store.Instances(ctx, l.fenced, q) {
		if err != nil {
			return err
		}
		if in.Sessions > 0 && in.Outlook == string(pool.OutlookInterrupted) {
			l.EndAll(store.SessionQuery{Instance: in.ID}, store.Failure{
				Reason: store.EndInterrupted, Message: orchestrator.Clean(fmt.Sprintf("instance %s: %s", in.ID, in.Reason)),
			})
		}
	}
	return nil
}

// Owned is a Manager for what this process does with a session before that is active, and before its checkout is removed.
type Owned struct{ *Manager }

// Inside connects to the container of a session, unless the session has ended.
func (m Owned) Inside(ctx context.Context, id string) (orchestrator.Inside, *store.Session, error) {
	r, err := m.read(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if r.State == store.SessionEnded || r.Container == "" {
		return nil, nil, m.inactive(r)
	}
	inside, err := m.cfg.Containers.Inside(ctx, r.Container)
	if err != nil {
		return nil, nil, fmt.Errorf("session %s: %w", id, errs.Unavailable(ctx, err))
	}
	return inside, r, nil
}

// Explain returns why a call of a session failed with err, in the words of package berth.
func (m Owned) Explain(ctx context.Context, id string, err error) error {
	if closed := m.ExplainClosed(ctx, id, err); errors.Is(closed, errs.ErrClosed) {
		return closed
	}
	switch {
	case errors.Is(err, agent.ErrGone):
		return fmt.Errorf("session %s: %w", id, errs.ContainerLost(err))
	case errors.Is(err, agent.ErrUnknownSession):
		return fmt.Errorf("session %s: %w", id, errs.ErrContainerLost)
	case errors.Is(err, agent.ErrOverLimit):
		return fmt.Errorf("%w: %v", errs.ErrOverLimit, err)
	}
	return err
}
