package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/admission"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Placed is a session and the instance that it is on; nil if that is gone.
type Placed struct {
	Session  *store.Session
	Instance *store.Instance
	Existing bool // the task had the session already
}

// Create returns the active session of the request's task, and creates it if the task has none. If the creation fails,
// what it had begun is undone. Create waits for that, but for no more than 5 s.
func (m *Manager) Create(ctx context.Context, r *Request) (Placed, error) {
	for {
		created, other, err := m.create(ctx, r)
		switch {
		case err != nil:
			return Placed{}, m.apiError(r.wrap(err))
		case other == nil:
			return created, nil
		case other.State == store.SessionActive:
			in, err := store.Read[*store.Instance](ctx, m.cfg.Store, store.InstanceKey(other.Instance))
			if err != nil {
				return Placed{}, r.wrap(fmt.Errorf("session %s: %w", other.ID, err))
			}
			return Placed{other, in, true}, nil
		}
		// Another call creates it, or it is just being ended: look again when that is over.
		if err := m.cfg.Queue.AwaitChange(ctx, other); err != nil {
			return Placed{}, r.wrap(err)
		}
	}
}

// apiError returns err as callers of package berth get it.
func (m *Manager) apiError(err error) error {
	if failure, ok := err.(*errs.StartError); ok {
		return m.cfg.StartError(*failure)
	}
	return err
}

// create admits a session and starts it, or undoes it. other is the session that the TaskID has already.
func (m *Manager) create(ctx context.Context, r *Request) (active Placed, other *store.Session, err error) {
	if err := m.refusedLately(ctx, r); err != nil {
		return Placed{}, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	id := newID(time.Now())
	finished := m.known.creating(id, cancel) // before anybody can find it
	s, ours, err := m.admit(ctx, r, id)
	admitted := ours || errors.Is(err, store.ErrUnknownOutcome)
	if ours {
		active, err = m.start(ctx, r, s)
	}
	if err != nil && ctx.Err() != nil {
		err = explainCancelled(context.Cause(ctx), err)
	}
	switch {
	case !admitted:
		finished()
		m.forget(id, err)
		return Placed{}, s, err
	case err == nil:
		finished()
		return active, nil, nil
	}
	m.count.failed.Add(1)
	e := m.End(ctx, id, failureOf(ctx, err)) // before finished: resumeOwned would take the session for cut off
	finished()
	_ = loop.Wait(context.WithoutCancel(ctx), undoPatience, e.Done()) // after that, it goes on in the background
	return Placed{}, nil, err
}

// admit stores a new session for the request, or returns the one that the TaskID has. After ErrUnknownOutcome the session
// may be stored.
func (m *Manager) admit(ctx context.Context, r *Request, id string) (s *store.Session, ours bool, err error) {
	if err := m.cfg.Member.MayAct(ctx); err != nil {
		return nil, false, err
	}
	fresh := r.record(id, m.cfg.Replica, time.Now())
	fresh.Trace = m.cfg.Telemetry.Trace(ctx)
	s, ours, err = m.admitAuthorized(ctx, r, fresh)
	if err == nil && !ours && !r.matches(s) {
		return nil, false, errs.ErrTaskConflict
	}
	return s, ours, err
}

// start takes a session from creating to active. It gives the session another place when its container dies, or was
// stopping, before the session is in it.
func (m *Manager) start(ctx context.Context, r *Request, s *store.Session) (Placed, error) {
	base, err := findSnapshot(ctx, m.cfg.Snapshots, r)
	if err != nil {
		return Placed{}, err
	}
	var waited time.Duration
	for try := 1; ; try++ {
		placed, err := m.cfg.Queue.AwaitPlace(ctx, s, &waited)
		if err != nil {
			return Placed{}, err
		}
		m.cfg.Events.Placed(placed)
		active, err := m.open(ctx, r, placed, base)
		switch {
		case err == nil || !isGone(err):
			return active, err
		case try == admission.Tries:
			return Placed{}, placeLost(err)
		case ctx.Err() != nil:
			return Placed{}, err
		}
		if s, err = m.cfg.Queue.Requeue(ctx, placed); err != nil {
			return Placed{}, err
		}
	}
}

// isGone reports whether an error says that a container is gone, or going.
func isGone(err error) bool { return errors.Is(err, agent.ErrGone) || errors.Is(err, agent.ErrClosed) }

// placeLost is the error of a session that has lost the last place that it is given.
func placeLost(err error) error {
	failure, ok := err.(*errs.StartError)
	if ok && errors.Is(failure.Err, agent.ErrGone) && !errors.Is(failure.Err, errNotOurs) {
		failure.Err = fmt.Errorf("%w: %w", errs.ContainerLost(failure.Err), failure.Err)
	}
	return err
}

// undoPatience bounds how long a failed creation waits for its own undoing.
const undoPatience = 5 * time.Second

// failureOf returns how the record of a session says why its creation failed. ctx is the creation's.
func failureOf(ctx context.Context, err error) store.Failure {
	why := store.Failure{Reason: store.EndStartFailed, Phase: store.PhasePlacing}
	why.Cause, why.Message = orchestrator.Stored(err, errs.Causes)
	if failure, ok := err.(*errs.StartError); ok {
		why.Phase = failure.Phase
		why.Cause, why.Message = orchestrator.Stored(failure.Err, errs.Causes)
		if errors.Is(err, errs.ErrAccessDenied) { // which says more than that git failed
			why.Cause = errs.CauseAccessDenied
		}
	} else if ctx.Err() != nil {
		why.Reason, why.Phase = store.EndCancelled, ""
	}
	return why
}

// explainCancelled returns the error of a creation whose context has ended: the cause of that end, in place of what the
// failing call made of it. The error still says what the creation waited for.
func explainCancelled(cause, err error) error {
	if _, ok := errors.AsType[*admission.WaitError](err); ok {
		return err
	}
	if failure, ok := err.(*errs.StartError); ok {
		return fmt.Errorf("while %s: %w", failure.Doing(), cause)
	}
	return cause
}
