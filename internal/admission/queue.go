// Package admission gives sessions their places: a slot on an instance and a container of their repository.
//
// A session that finds no place waits in the pool's queue, which is in the store and shared by all replicas. Each replica
// serves the queue when it may have freed a slot itself, and now and then. The queue is fair between users. To place a
// session is one transaction: it reads the containers of the session's sharing key, chooses, and applies the choice.
package admission

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// Config configures a Queue. All fields but Telemetry are required.
type Config struct {
	Replica string // this process, as records name it
	Store   store.Store
	Retry   store.Retry // over Store
	Pool    *pool.Manager
	// Containers starts and removes the containers that sessions join and leave
	Containers *orchestrator.Manager
	Settings   Settings

	// Limits returns the limits of a user. It must not block. While it returns an error, the user gets nothing.
	Limits func(userID string) (Limits, error)
	// Refuse makes the error of a session that a limit refuses.
	Refuse func(Refusal) error

	MaxInstances, MaxTasksPerInstance int
	Timeout                           time.Duration // for a session to get a place; 0 = none

	OnQueued  func(*store.Session) // a session begins to wait in this process; must not block
	Closing   context.Context      // ends when this process takes no more sessions
	Failures  *loop.Failures
	Telemetry *telemetry.Telemetry // nil = tells nothing
}

// Settings are the settings in force for the whole pool.
type Settings interface {
	MaxContainers() int                     // of a sharing key, as this process last read it
	MaxContainersBy(record *store.Pool) int // the same, by the pool's record
	// ContainerIdleTimeout is how long an empty container stays, as this process last read it. Negative = until its room is
	// needed, 0 = none stays
	ContainerIdleTimeout() time.Duration
}

// A Queue admits and places the sessions of one pool. All methods are safe for concurrent use.
type Queue struct {
	cfg      Config
	signal   loop.Signal // the queue is to be looked at
	cache    cache
	hints    hints
	recounts recounts
	refused  atomic.Int64 // see Refused
	looked   atomic.Pointer[look]
}

// New returns a Queue. Run serves it.
func New(cfg Config) *Queue { return &Queue{cfg: cfg, signal: loop.NewSignal()} }

// Wake makes Run look at the queue: a slot may be free. It never blocks.
func (q *Queue) Wake() { q.signal.Set() }

// poll is how often a record is read beside the store's notifications, which may be lost.
const poll = time.Second

// restPause is how long Run waits at least before it looks again at a queue that it has left empty. While many sessions end
// one after another and none waits, that saves most of the looks.
const restPause = 10 * time.Millisecond

// Run gives slots to queued sessions, until ctx ends. It looks whenever a slot may have become free in this process, and
// when a session was queued here. Other replicas do the same for what happens there, so a look now and then is enough to
// find what they have left.
func (q *Queue) Run(ctx context.Context) {
	for ctx.Err() == nil {
		left, err := q.serve(ctx)
		pause := 10 * poll
		switch {
		case err != nil:
			q.cfg.Failures.Report("cannot serve the queue", err)
			pause = poll
		case left:
			pause = poll
		default:
			if loop.Sleep(ctx, restPause) != nil {
				return
			}
		}
		_ = loop.Wait(ctx, pause, q.signal.C()) // the loop's condition sees the end of ctx
	}
}

// serve places as many queued sessions as have room. It reports whether any is left that a new slot would help.
func (q *Queue) serve(ctx context.Context) (left bool, err error) {
	if waits, room, err := q.chance(ctx); err != nil || !waits || !room {
		return waits, err
	}
	queue, users, err := q.read(ctx)
	if err != nil {
		return true, err
	}
	blocked := make(map[string]bool) // sharing keys that cannot be served now
	for _, t := range fair(queue, users) {
		w := t.waiting
		if blocked[w.container] || t.heldBack() { // the end of one of the user's sessions wakes the queue
			continue
		}
		got, err := q.placeQueued(ctx, w)
		if err != nil {
			return true, err
		}
		if got != noPlace {
			continue
		}
		blocked[w.container], left = true, true
		if _, room, err := q.chance(ctx); err != nil || !room {
			return true, err
		}
	}
	return left, nil
}

// chance reports whether any session waits, and whether any instance has a free slot.
func (q *Queue) chance(ctx context.Context) (waits, room bool, err error) {
	err = q.cfg.Store.View(ctx, func(v store.View) error {
		record, err := store.Find[*store.Pool](v, store.PoolKey())
		if err != nil || record == nil || record.Queued == 0 {
			return err
		}
		waits = true
		found, err := v.Instances(store.InstanceQuery{Placeable: true, Page: store.Page{Limit: 1}})
		room = len(found) > 0
		return err
	})
	return waits, room, err
}

// outcome is what placeQueued did for a session.
type outcome int

const (
	noPlace  outcome = iota // there is no place for it
	heldBack                // its user may not hold one more
	placed                  // it waits no more
)

// placeQueued gives a queued session its place, if there is one and its user may have one more.
func (q *Queue) placeQueued(ctx context.Context, w waiting) (got outcome, err error) {
	var s *store.Session
	var change uint64
	most, known := q.most(w.user)
	if !known {
		return heldBack, nil
	}
	keys := []store.Key{store.PoolKey(), store.SessionKey(w.id), store.SharingKey(w.container), store.UserKey(w.user)}
	began := time.Now()
	err = q.attempts(ctx, w.container, func(a attempt) error {
		return q.cfg.Store.Update(ctx, append(keys[:len(keys):len(keys)], q.hints.of(w.container, a)...), func(tx store.Tx) error {
			got, change, *a.gaveUp = noPlace, 0, nil
			if s, err = store.Find[*store.Session](tx, store.SessionKey(w.id)); err != nil {
				return err
			}
			if s == nil || s.State != store.SessionCreating || !s.Queued {
				got = placed // nothing is left to do for it
				return nil
			}
			user, err := readUser(tx, w.user)
			if err != nil {
				return err
			}
			if most > 0 && user.Sessions >= most {
				got = heldBack
				return nil
			}
			record, err := store.Get[*store.Pool](tx, store.PoolKey())
			if err != nil {
				return err
			}
			has, err := q.place(tx, s, a, q.cfg.Settings.MaxContainersBy(record))
			if err != nil || !has {
				return err
			}
			got, s.Queued = placed, false
			if err := countUser(tx, w.user, 0, -1, time.Now()); err != nil {
				return err
			}
			if change, err = leaveQueue(tx, record); err != nil {
				return err
			}
			return tx.Put(s)
		})
	})
	if err != nil {
		return noPlace, err
	}
	if change != 0 { // the session's trace shows what this process has done for it
		q.cfg.Telemetry.Passed(q.cfg.Telemetry.Within(ctx, s.Trace), telemetry.PhasePlace, began, time.Since(began))
	}
	q.cache.removed(change, s)
	q.hints.note(s)
	return got, nil
}
