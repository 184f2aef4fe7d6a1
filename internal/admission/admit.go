package admission

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/store"
)

// Admit stores a new session, placed or queued, in one transaction. If the session's TaskID has a session already, Admit
// returns that one, and ours is false. fresh is not changed. ErrDestroying: the pool takes no sessions. A *StaleError: the
// user's access was revoked since fresh.Revocations. What Config.Refuse returns: the user is at a limit. After
// ErrUnknownOutcome the session may be stored.
func (q *Queue) Admit(ctx context.Context, fresh *store.Session) (s *store.Session, ours bool, err error) {
	ctx, phase := q.cfg.Telemetry.Phase(ctx, telemetry.PhasePlace)
	s, ours, err = q.admitCounted(ctx, fresh)
	phase.End(err)
	return s, ours, err
}

// admitCounted is Admit. It counts what the user has once more before a limit refuses the session.
func (q *Queue) admitCounted(ctx context.Context, fresh *store.Session) (s *store.Session, ours bool, err error) {
	s, ours, err = q.tryAdmit(ctx, fresh)
	over, refused := errors.AsType[refusal](err)
	if !refused {
		return s, ours, err
	}
	if over.counts && q.recounts.due(fresh.UserID, time.Now()) {
		wrong, failed := q.recount(ctx, fresh.UserID)
		if failed != nil {
			return nil, false, failed
		}
		if wrong {
			s, ours, err = q.tryAdmit(ctx, fresh)
		}
	}
	if over, refused = errors.AsType[refusal](err); refused {
		q.refused.Add(1)
		err = over.error
	}
	return s, ours, err
}

// tryAdmit is Admit by the counts of the user's record. The error is a refusal if a limit refuses the session.
func (q *Queue) tryAdmit(ctx context.Context, fresh *store.Session) (s *store.Session, ours bool, err error) {
	keys := []store.Key{
		store.PoolKey(), store.SharingKey(fresh.ContainerName), fresh.Key(), store.TaskKey(fresh.TaskID), store.UserKey(fresh.UserID),
	}
	limits, err := q.cfg.Limits(fresh.UserID)
	if err != nil {
		return nil, false, err
	}
	var change uint64
	err = q.attempts(ctx, fresh.ContainerName, func(a attempt) error {
		now := time.Now()
		keys := append(keys[:len(keys):len(keys)], q.hints.of(fresh.ContainerName, a)...)
		return q.cfg.Retry.Update(ctx, keys, func(tx store.Tx) error {
			change, *a.gaveUp = 0, nil
			task, err := store.Find[*store.Task](tx, store.TaskKey(fresh.TaskID))
			if err != nil {
				return err
			}
			if task != nil {
				ours = task.Session == fresh.ID // then an earlier try was committed
				s, err = store.Get[*store.Session](tx, store.SessionKey(task.Session))
				return err
			}
			s, ours = fresh.Clone().(*store.Session), true
			change, err = q.admit(tx, s, a, limits, now)
			return err
		})
	})
	if err != nil {
		return nil, false, err
	}
	q.hints.note(s)
	if ours && s.Queued {
		q.cache.added(change, s)
		q.Wake()
	}
	return s, ours, nil
}

// admit places a new session or puts it into the queue, as one step of a transaction. It returns the number of the
// queue's change, 0 if there was none.
func (q *Queue) admit(tx store.Tx, s *store.Session, a attempt, l Limits, now time.Time) (change uint64, err error) {
	record, err := store.Get[*store.Pool](tx, store.PoolKey())
	if err != nil {
		return 0, err
	}
	if record.Closed {
		return 0, fmt.Errorf("%w; when that is done, New opens it again", errs.ErrDestroying)
	}
	user, err := readUser(tx, s.UserID)
	if err != nil {
		return 0, err
	}
	if err := q.admissible(user, s, l, now); err != nil {
		return 0, err
	}
	placed := false
	if record.Queued == 0 { // sessions that are already waiting are served first
		if placed, err = q.place(tx, s, a, q.cfg.Settings.MaxContainersBy(record)); err != nil {
			return 0, err
		}
	}
	if l.StartsPerMinute > 0 {
		if err := countStart(tx, s.UserID, now); err != nil {
			return 0, err
		}
	}
	if !placed {
		if err := q.mayWait(user, l); err != nil {
			return 0, err
		}
		if err := countUser(tx, s.UserID, 0, 1, now); err != nil {
			return 0, err
		}
		s.Queued = true
		if change, err = joinQueue(tx, record); err != nil {
			return 0, err
		}
	}
	s.Arrived = record.QueueSeq
	if err := tx.Put(&store.Task{ID: s.TaskID, Session: s.ID}); err != nil {
		return 0, err
	}
	return change, tx.Put(s)
}
