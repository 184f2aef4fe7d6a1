package admission

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/store"
)

// AwaitPlace returns the session when it has a place, which the Queue of this replica or of another gives it. waited is
// how long the session has waited before; AwaitPlace adds what it waits now. A *WaitError says that the wait was ended by
// Config.Timeout or by ctx. ErrTerminated, ErrRevoked: the session is not being created any more.
func (q *Queue) AwaitPlace(ctx context.Context, s *store.Session, waited *time.Duration) (*store.Session, error) {
	if !s.Queued {
		return s, nil
	}
	ctx, phase := q.cfg.Telemetry.Phase(ctx, telemetry.PhaseQueue)
	placed, err := q.awaitPlace(ctx, s, waited)
	phase.End(err)
	return placed, err
}

// awaitPlace is AwaitPlace for a session that has no place yet.
func (q *Queue) awaitPlace(ctx context.Context, s *store.Session, waited *time.Duration) (*store.Session, error) {
	q.cfg.OnQueued(s)
	q.cfg.Pool.Wake() // the session may need an instance
	bounded := ctx
	if q.cfg.Timeout > 0 {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, q.cfg.Timeout-*waited)
		defer cancel()
	}
	begun := time.Now()
	defer func() { *waited += time.Since(begun) }()
	wake, stop := q.cfg.Store.Notify(s.Key())
	defer stop()
	for {
		now, err := store.Read[*store.Session](ctx, q.cfg.Store, s.Key())
		switch {
		case err != nil && ctx.Err() != nil:
			return s, q.waitError(ctx, s, *waited+time.Since(begun), context.Cause(ctx))
		case err != nil:
			return s, fmt.Errorf("session %s: %w", s.ID, err)
		case now == nil:
			return s, fmt.Errorf("session %s: %w", s.ID, errs.ErrSessionNotFound)
		case now.State != store.SessionCreating:
			return s, errs.NotCreating(now)
		case !now.Queued:
			return now, nil
		}
		if loop.Wait(bounded, poll, wake) == nil {
			continue
		}
		if ctx.Err() == nil {
			return s, q.waitError(ctx, s, q.cfg.Timeout, nil)
		}
		return s, q.waitError(ctx, s, *waited+time.Since(begun), context.Cause(ctx))
	}
}

// AwaitChange returns when a session that another call creates or ends is in another state. If that call waits for a place
// when ctx ends or this process is closed, the error is a *WaitError.
func (q *Queue) AwaitChange(ctx context.Context, s *store.Session) error {
	wake, stop := q.cfg.Store.Notify(s.Key())
	defer stop()
	bounded, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(q.cfg.Closing, func() { cancel(errs.ErrClosed) })()
	begun := time.Now()
	ended := func(cause error) error {
		if s.State == store.SessionCreating && s.Queued {
			return q.waitError(ctx, s, time.Since(begun), cause)
		}
		return fmt.Errorf("while another call has the session %s: %w", s.State, cause)
	}
	for {
		now, err := store.Read[*store.Session](ctx, q.cfg.Store, s.Key())
		switch {
		case err != nil && ctx.Err() != nil:
			return ended(context.Cause(ctx))
		case err != nil || now == nil || now.State != s.State:
			return err
		}
		s = now
		if err := loop.Wait(bounded, poll, wake); err != nil {
			return ended(err)
		}
	}
}
