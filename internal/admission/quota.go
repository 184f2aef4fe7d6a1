package admission

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// Limits bound what one user may have. 0 = no bound. The counts stand on the user's record and change in the transactions
// that admit, place and end sessions. So they hold over all replicas.
type Limits struct {
	Sessions        int // that hold a slot
	Queued          int // that wait for one, when a new one comes
	StartsPerMinute int // that were admitted within the last minute
}

// The names of the Limits.
const (
	LimitSessions        = "Sessions"
	LimitQueued          = "Queued"
	LimitStartsPerMinute = "StartsPerMinute"
)

// A Refusal says which limit a new session would exceed.
type Refusal struct {
	UserID     string
	Limit      string
	Max, Now   int
	RetryAfter time.Duration // of LimitStartsPerMinute
}

// A StaleError says that the access of a session's user was revoked since the user was authorized.
type StaleError struct {
	Revocations uint64 // of the user, as they are now
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("the user's access was revoked, for the %dth time, since it was checked", e.Revocations)
}

// admissible returns why a user may not begin one more session at now: a *StaleError, or what Config.Refuse makes of a
// Refusal.
func (q *Queue) admissible(user *store.User, s *store.Session, l Limits, now time.Time) error {
	if user.Revocations != s.Revocations {
		return &StaleError{user.Revocations}
	}
	if l.Sessions > 0 && user.Sessions >= l.Sessions {
		return q.refuse(Refusal{UserID: user.ID, Limit: LimitSessions, Max: l.Sessions, Now: user.Sessions})
	}
	if l.StartsPerMinute > 0 {
		if n, after := startsAt(user.Starts, now, l.StartsPerMinute); n >= l.StartsPerMinute {
			return q.refuse(Refusal{user.ID, LimitStartsPerMinute, l.StartsPerMinute, n, after})
		}
	}
	return nil
}

// mayWait returns why one more session of a user may not join the queue.
func (q *Queue) mayWait(user *store.User, l Limits) error {
	if l.Queued > 0 && user.Queued >= l.Queued {
		return q.refuse(Refusal{UserID: user.ID, Limit: LimitQueued, Max: l.Queued, Now: user.Queued})
	}
	return nil
}

// refusal is the error of a session that a limit refuses, until it is sure.
type refusal struct {
	error
	counts bool // the limit is one of what the user has, and not of starts
}

func (q *Queue) refuse(r Refusal) error {
	return refusal{q.cfg.Refuse(r), r.Limit != LimitStartsPerMinute}
}

// Refused returns how many sessions a limit has refused in this process.
func (q *Queue) Refused() int64 { return q.refused.Load() }

// The starts of a user are counted by wall clocks, because the processes have no other clock in common. If the clocks of
// two processes differ by d, the minute of the one lasts d longer for the other's starts, and the other's d less. Starts
// that are dated a minute or more ahead count as over: a wrong clock never locks a user out for longer than two minutes.
const (
	startsWindow = time.Minute
	startsGrain  = 5 * time.Second // starts of one grain are over together, so that the record stays small
	maxStarts    = 32              // entries of a record: more than a minute has, some may be dated ahead
)

// isCurrent reports whether starts count at now.
func isCurrent(s store.Starts, now time.Time) bool {
	age := now.Sub(s.Last)
	return age < startsWindow && age > -startsWindow
}

// startsAt returns how many starts count at now, and, if these are most or more, after which time fewer do.
func startsAt(all []store.Starts, now time.Time, most int) (n int, after time.Duration) {
	for _, s := range all {
		if isCurrent(s, now) {
			n += s.N
		}
	}
	left := n
	for _, s := range all { // the oldest is over first
		if left < most {
			break
		}
		if isCurrent(s, now) {
			left -= s.N
			after = s.Last.Add(startsWindow).Sub(now)
		}
	}
	return n, after
}

// addStart counts one more start at now, and drops those that are over.
func addStart(all []store.Starts, now time.Time) []store.Starts {
	all = slices.DeleteFunc(slices.Clone(all), func(s store.Starts) bool { return now.Sub(s.Last) >= startsWindow })
	grain := now.Truncate(startsGrain)
	at := slices.IndexFunc(all, func(s store.Starts) bool { return s.Last.Truncate(startsGrain).Equal(grain) })
	if at < 0 {
		at, all = len(all), append(all, store.Starts{})
	}
	all[at].N++
	if now.After(all[at].Last) {
		all[at].Last = now
	}
	slices.SortStableFunc(all, func(a, b store.Starts) int { return a.Last.Compare(b.Last) })
	return all[:min(len(all), maxStarts)]
}

// countStart counts one more start of a user.
func countStart(tx store.Tx, id string, now time.Time) error {
	user, err := readUser(tx, id)
	if err != nil {
		return err
	}
	user.Starts = addStart(user.Starts, now)
	return tx.Put(user)
}

// readUser returns the record of a user, or a new one.
func readUser(g store.Getter, id string) (*store.User, error) {
	user, err := store.Find[*store.User](g, store.UserKey(id))
	return cmp.Or(user, &store.User{ID: id}), err
}

// countUser adds to the number of slots that a user holds, and of the user's sessions that wait.
func countUser(tx store.Tx, id string, slots, queued int, now time.Time) error {
	user, err := readUser(tx, id)
	if err != nil {
		return err
	}
	// A version that did not count the queue may have admitted what leaves it now.
	user.Sessions, user.Queued = max(user.Sessions+slots, 0), max(user.Queued+queued, 0)
	if isSpent(user, now) {
		return tx.Delete(user.Key())
	}
	return tx.Put(user)
}

// isSpent reports whether nothing is to be remembered of a user.
func isSpent(user *store.User, now time.Time) bool {
	return user.Sessions == 0 && user.Queued == 0 && user.Revocations == 0 &&
		!slices.ContainsFunc(user.Starts, func(s store.Starts) bool { return isCurrent(s, now) })
}

// ForgetUser removes the record of a user of whom nothing is to be remembered, as one step of the transaction that removes
// an ended session of the user. It reports whether the session must be kept instead: only starts are left, and when they
// are over, another session's end may not come to remove the record.
func ForgetUser(tx store.Tx, id string, now time.Time) (keep bool, err error) {
	user, err := store.Find[*store.User](tx, store.UserKey(id))
	if err != nil || user == nil || user.Sessions > 0 || user.Queued > 0 || user.Revocations > 0 {
		return false, err
	}
	if !isSpent(user, now) {
		return true, nil
	}
	return false, tx.Delete(user.Key())
}
