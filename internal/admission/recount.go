package admission

import (
	"context"
	"sync"
	"time"

	"github.com/berth-go/berth/store"
)

// A version that does not count what waits may use the same store during a deployment, and leave wrong counts. So a session
// is refused only after the user's sessions were counted, and the record corrected if it was wrong.

const (
	recountPause = time.Minute // within which a user is counted once by a process
	maxRecounted = 10_000      // users that are remembered for that
)

// recounts remembers when users were counted.
type recounts struct {
	mu   sync.Mutex // protects last
	last map[string]time.Time
}

// due reports whether a user is to be counted now, and remembers that.
func (r *recounts) due(userID string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, known := r.last[userID]; known && now.Sub(last) < recountPause {
		return false
	}
	if r.last == nil || len(r.last) >= maxRecounted {
		r.last = make(map[string]time.Time)
	}
	r.last[userID] = now
	return true
}

// recount counts the sessions of a user, and corrects the user's record. It reports whether the record was wrong.
func (q *Queue) recount(ctx context.Context, userID string) (wrong bool, err error) {
	var was *store.User
	var slots, queued int
	err = q.cfg.Store.View(ctx, func(v store.View) (err error) {
		if was, err = readUser(v, userID); err == nil {
			slots, queued, err = countSessions(v, userID)
		}
		return err
	})
	if err != nil || slots == was.Sessions && queued == was.Queued {
		return false, err
	}
	err = q.cfg.Retry.Update(ctx, []store.Key{store.UserKey(userID)}, func(tx store.Tx) error {
		wrong = false
		now, err := readUser(tx, userID)
		if err != nil || now.Sessions != was.Sessions || now.Queued != was.Queued {
			return err // it has changed since: what was counted may not hold any more
		}
		wrong = true
		return countUser(tx, userID, slots-was.Sessions, queued-was.Queued, time.Now())
	})
	return wrong, err
}

// countSessions returns how many slots a user holds, and how many sessions of the user wait.
func countSessions(v store.View, userID string) (slots, queued int, err error) {
	for s, err := range store.All(func(page store.Page) ([]*store.Session, error) {
		return v.Sessions(store.SessionQuery{UserID: userID, Page: page, States: []store.SessionState{
			store.SessionCreating, store.SessionActive, store.SessionTerminating,
		}})
	}) {
		switch {
		case err != nil:
			return 0, 0, err
		case s.Queued:
			queued++
		default:
			slots++
		}
	}
	return slots, queued, nil
}
