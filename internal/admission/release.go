package admission

import (
	"context"
	"time"

	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// Released is what Release did.
type Released struct {
	change uint64 // of the queue; 0 = none
	// Last says that the session was the last one of its container, which is now to be stopped
	Last bool
	// Kept is the container if the session was its last one and it stays empty; nil = it does not
	Kept *store.Container
}

// Release takes a session out of the queue or gives back its place, as one step of the transaction that ends it; the
// caller puts the session. When the transaction is committed, call AfterRelease.
func (q *Queue) Release(tx store.Tx, s *store.Session) (r Released, err error) {
	if s.Queued {
		record, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return r, err
		}
		if err := countUser(tx, s.UserID, 0, -1, time.Now()); err != nil {
			return r, err
		}
		r.change, err = leaveQueue(tx, record)
		return r, err
	}
	var keep orchestrator.Keep
	if works(s) {
		keep = orchestrator.Keep{Timeout: q.cfg.Settings.ContainerIdleTimeout(), Fits: q.cfg.Containers.Fits}
	}
	left, err := q.vacate(tx, s, keep)
	r.Last, r.Kept = left.Stopping != nil, left.Kept
	return r, err
}

// works reports whether the container of a session that has ended is known to work: the session was active in it, or it was up
// before and the session did not fail for a reason that may be the container's.
func works(s *store.Session) bool {
	if s.Took > 0 {
		return true
	}
	others := s.End.Reason != store.EndStartFailed || s.End.Phase == store.PhaseFetching || s.End.Cause == orchestrator.CauseBranchNotFound
	return s.Start == store.StartAttached && others
}

// AfterRelease records what Release did in a transaction that is now committed.
func (q *Queue) AfterRelease(s *store.Session, r Released) { q.cache.removed(r.change, s) }

// vacate takes back what place gave, as one step of a transaction. keep says whether an empty container stays.
func (q *Queue) vacate(tx store.Tx, s *store.Session, keep orchestrator.Keep) (left orchestrator.Left, err error) {
	now := time.Now()
	if left, err = orchestrator.Leave(tx, s.Container, q.cfg.Replica, keep, now); err != nil {
		return left, err
	}
	if err := countUser(tx, s.UserID, -1, 0, now); err != nil {
		return left, err
	}
	return left, pool.Release(tx, s.Instance, s.UID, now)
}

// Requeue takes a session out of a container that died before the session was in it, and lets it wait for another. It
// returns the session as it is now stored. ErrTerminated, ErrRevoked: the session is not being created any more. The session
// may wait although its user has Limits.Queued others that do: the user has not asked for one more.
func (q *Queue) Requeue(ctx context.Context, from *store.Session) (s *store.Session, err error) {
	var stopping *store.Container
	var change uint64
	keys := []store.Key{
		from.Key(), store.PoolKey(), store.ContainerKey(from.Container), store.InstanceKey(from.Instance), store.UserKey(from.UserID),
	}
	err = q.cfg.Retry.Update(ctx, keys, func(tx store.Tx) (err error) {
		stopping, change = nil, 0
		if s, err = store.Get[*store.Session](tx, from.Key()); err != nil {
			return err
		}
		switch {
		case s.State != store.SessionCreating:
			return errs.NotCreating(s)
		case s.Container != from.Container: // an earlier try was committed
			stopping, err = q.ourStopping(tx, from.Container)
			return err
		}
		record, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		left, err := q.vacate(tx, s, orchestrator.Keep{})
		if err != nil {
			return err
		}
		stopping = left.Stopping
		s.Container, s.Instance, s.UID, s.Start, s.Queued = "", "", 0, "", true
		if err := countUser(tx, s.UserID, 0, 1, time.Now()); err != nil {
			return err
		}
		if change, err = joinQueue(tx, record); err != nil {
			return err
		}
		return tx.Put(s)
	})
	if err != nil {
		return nil, err
	}
	q.cache.added(change, s)
	if stopping != nil {
		q.cfg.Containers.Start(ctx, stopping.ID, orchestrator.Credential{}) // its keeper sees that it is to be removed
	}
	q.Wake()
	return s, nil
}

// ourStopping returns a container if this process is the one to remove it.
func (q *Queue) ourStopping(tx store.Tx, id string) (*store.Container, error) {
	c, err := store.Find[*store.Container](tx, store.ContainerKey(id))
	if err != nil || c == nil || c.State != store.ContainerStopping || c.Owner != q.cfg.Replica || c.Sessions > 0 {
		return nil, err
	}
	return c, nil
}
