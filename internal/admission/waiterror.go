package admission

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/store"
)

// A WaitError says why a session got no place, and what ended its wait.
type WaitError struct {
	waited    time.Duration
	place, of int    // in the order of service, and how many wait; 0 = not known
	room      string // how many instances there are and may be
	failure   string // why the pool's last launch failed; "" = it did not
	coming    int    // instances that are still starting
	full      bool   // there may be no more instances
	bound     bool   // its repository's container is on an instance without a free slot, and may have no other beside it
	most      int    // the slots that its user may hold, if the user holds as many; 0 = that is not the reason
	cause     error  // what ended the wait; nil = Config.Timeout
}

func (e *WaitError) Error() string {
	var b strings.Builder
	if errors.Is(e, errs.ErrNoCapacity) {
		fmt.Fprintf(&b, "%v: ", errs.ErrNoCapacity)
	}
	fmt.Fprintf(&b, "no slot became free in %v", e.waited.Round(time.Millisecond))
	switch {
	case e.place > 0:
		fmt.Fprintf(&b, ", at place %d of %d in the queue", e.place, e.of)
	case e.of > 0:
		fmt.Fprintf(&b, ", among %d in the queue", e.of)
	}
	fmt.Fprintf(&b, "; %s", e.room)
	if e.bound {
		b.WriteString("; the repository's container is on an instance that takes no more of its tasks " +
			"(MaxContainersPerRepository)")
	}
	if e.most > 0 {
		fmt.Fprintf(&b, "; its user may have %d sessions at once (UserLimits.%s)", e.most, LimitSessions)
	}
	if e.failure != "" {
		fmt.Fprintf(&b, "; the last launch failed: %s", e.failure)
	}
	if e.cause != nil {
		fmt.Fprintf(&b, "; the wait was ended by: %v", e.cause)
	}
	return b.String()
}

// Unwrap returns what ended the wait. It adds ErrNoCapacity if that is why there was no slot: launches fail, or there may
// be no more instances, or no more containers of the repository. It does not add it for a caller that did not wait for an
// instance that is on its way.
func (e *WaitError) Unwrap() (all []error) {
	if e.cause == nil || e.failure != "" || e.bound || e.full && e.coming == 0 {
		all = append(all, errs.ErrNoCapacity)
	}
	if e.cause != nil {
		all = append(all, e.cause)
	}
	return all
}

const (
	explainTimeout = time.Second // bounds the reads that explain a wait that has ended
	// maxPlaces bounds the queue in which a WaitError gives the session's place. When all sessions of a queue end together,
	// finding their places takes a time that grows with the square of their number.
	maxPlaces = 1000
)

// waitError explains the wait of a session that got no place. ctx may have ended. It leaves out parts that it cannot read.
func (q *Queue) waitError(ctx context.Context, s *store.Session, waited time.Duration, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
	defer cancel()
	e := &WaitError{waited: waited, cause: cause}
	instances := "an unknown number of"
	_ = q.cfg.Store.View(ctx, func(v store.View) error {
		record, err := store.Get[*store.Pool](v, store.PoolKey())
		if err != nil {
			return err
		}
		e.failure, e.full = record.LaunchFailure, record.Instances >= q.cfg.MaxInstances
		instances = strconv.Itoa(record.Instances)
		e.of = record.Queued
		coming, err := v.Instances(store.InstanceQuery{
			States: []store.InstanceState{store.InstanceLaunching, store.InstanceBooting}, Page: store.Page{Limit: store.MaxLimit},
		})
		if err != nil {
			return err
		}
		e.coming = len(coming)
		room, err := q.containerRoom(v, s.ContainerName)
		e.bound = err == nil && room == 0
		return err
	})
	e.room = fmt.Sprintf("the pool has %s instances, %d of them still starting; it may have up to %d instances of %d slots",
		instances, e.coming, q.cfg.MaxInstances, q.cfg.MaxTasksPerInstance)
	e.failure = cmp.Or(e.failure, q.cfg.Pool.Stats().Frozen)
	if e.of > maxPlaces {
		return e
	}
	if queue, users, err := q.read(ctx); err == nil {
		e.of = len(queue)
		turns := fair(queue, users)
		at := slices.IndexFunc(turns, func(t turn) bool { return t.id == s.ID })
		if e.place = at + 1; at >= 0 && turns[at].heldBack() {
			e.most = turns[at].user.most
		}
	}
	return e
}
