package admission

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// waiting is what the queue needs to know of a session in it.
type waiting struct {
	id, user  string
	container string // its name, which stands for the sharing key
	arrived   uint64
	since     time.Time
	trace     string // of its creation
}

// compare orders by arrival.
func (w waiting) compare(other waiting) int {
	return cmp.Or(cmp.Compare(w.arrived, other.arrived), w.since.Compare(other.since), cmp.Compare(w.id, other.id))
}

func waitingOf(s *store.Session) waiting {
	return waiting{s.ID, s.UserID, s.ContainerName, s.Arrived, s.CreatedAt.Truncate(time.Microsecond), s.Trace} // as every store keeps it
}

// holding is how many slots a user holds, and may hold.
type holding struct {
	slots, most int  // most 0 = any number
	known       bool // most is known
}

// most returns how many slots a user may hold, 0 = any number, and whether that is known.
func (q *Queue) most(userID string) (most int, known bool) {
	limits, err := q.cfg.Limits(userID)
	if err != nil {
		q.cfg.Failures.Report("the limits of a user are not known; the user's sessions wait", err)
	}
	return limits.Sessions, err == nil
}

// read returns the sessions that wait, in the order of arrival, and how many slots each of their users holds.
func (q *Queue) read(ctx context.Context) (queue []waiting, users map[string]holding, err error) {
	users = make(map[string]holding)
	err = q.cfg.Store.View(ctx, func(v store.View) error {
		record, err := store.Find[*store.Pool](v, store.PoolKey())
		if err != nil || record == nil || record.Queued == 0 {
			return err
		}
		known := false
		if queue, known = q.cache.known(record.QueueSeq); !known {
			if queue, err = readQueue(v); err != nil {
				return err
			}
			q.cache.set(record.QueueSeq, queue)
		}
		for _, w := range queue {
			if _, known := users[w.user]; known {
				continue
			}
			user, err := readUser(v, w.user)
			if err != nil {
				return err
			}
			users[w.user] = holding{slots: user.Sessions}
		}
		return nil
	})
	for id, user := range users { // not in the transaction: it is the host's function
		user.most, user.known = q.most(id)
		users[id] = user
	}
	return queue, users, err
}

func readQueue(v store.View) (queue []waiting, err error) {
	for s, err := range store.All(func(page store.Page) ([]*store.Session, error) {
		return v.Sessions(store.SessionQuery{Queued: true, Page: page})
	}) {
		if err != nil {
			return nil, err
		}
		queue = append(queue, waitingOf(s))
	}
	slices.SortFunc(queue, waiting.compare)
	return queue, nil
}

// turn is the turn of a session that waits.
type turn struct {
	waiting
	held int // the slots that its user holds when those of the user's sessions that came before have theirs
	user holding
}

// heldBack reports whether the session would have no turn even if there were slots: its user has to end another first.
func (t turn) heldBack() bool { return !t.user.known || t.user.most > 0 && t.held >= t.user.most }

// fair puts a queue that is in the order of arrival into the order of service. The session comes first whose user holds
// the fewest slots, and among those the one that arrived first. So one user's hundred tasks do not starve another's one.
func fair(queue []waiting, users map[string]holding) []turn {
	turns := make([]turn, len(queue))
	ahead := make(map[string]int)
	for i, w := range queue {
		user := users[w.user]
		turns[i] = turn{w, user.slots + ahead[w.user], user}
		ahead[w.user]++
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.held, b.held) })
	return turns
}
