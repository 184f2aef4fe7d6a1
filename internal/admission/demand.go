package admission

import (
	"context"
	"time"

	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Demand returns how many queued sessions wait for a slot that a new instance could give them. It does not count sessions
// whose container runs on a full instance, nor those whose container is just being removed, nor those that a limit of their
// user holds back.
func (q *Queue) Demand(ctx context.Context) (demand int, err error) {
	queue, users, err := q.read(ctx)
	if err != nil {
		return 0, err
	}
	q.noteLook(queue)
	if len(queue) == 0 {
		return 0, nil
	}
	groups := make(map[string]int)
	for _, t := range fair(queue, users) {
		if !t.heldBack() {
			groups[t.container]++
		}
	}
	err = q.cfg.Store.View(ctx, func(v store.View) error {
		for name, waiting := range groups {
			room, err := q.containerRoom(v, name)
			if err != nil {
				return err
			}
			// A container is on one instance: more instances do not help more of its sessions than one has slots.
			demand += min(waiting, room*q.cfg.MaxTasksPerInstance)
		}
		return nil
	})
	return demand, err
}

// look is the queue as Demand has seen it last.
type look struct {
	sessions int64
	since    time.Time // when the session that has waited longest was created; zero = none waits
	traces   []string  // of those that have waited longest
}

// maxTraces bounds the traces that a look keeps.
const maxTraces = 16

func (q *Queue) noteLook(queue []waiting) {
	seen := &look{sessions: int64(len(queue))}
	for _, w := range queue {
		if seen.since.IsZero() || w.since.Before(seen.since) {
			seen.since = w.since
		}
		if w.trace != "" && len(seen.traces) < maxTraces {
			seen.traces = append(seen.traces, w.trace)
		}
	}
	q.looked.Store(seen)
}

// Seen returns the queue as Demand has seen it last, and the traces of the first sessions in it. It does not read the store.
func (q *Queue) Seen() (queue telemetry.Queue, traces []string) {
	seen := q.looked.Load()
	if seen == nil {
		return queue, nil
	}
	queue.Sessions = seen.sessions
	if !seen.since.IsZero() {
		queue.Longest = max(time.Since(seen.since), 0)
	}
	return queue, seen.traces
}

// containerRoom returns how many more containers a sharing key may have now.
func (q *Queue) containerRoom(v store.View, name string) (int, error) {
	room := q.cfg.Settings.MaxContainers()
	sharing, err := store.Find[*store.Sharing](v, store.SharingKey(name))
	if err != nil || sharing == nil {
		return room, err
	}
	for _, id := range sharing.Containers {
		c, in, err := store.FindContainer(v, id)
		if err != nil {
			return 0, err
		}
		switch {
		case c == nil || in == nil:
		case orchestrator.Joinable(c, in):
			room--
		case in.State == store.InstanceReady && !c.Superseded:
			return 0, nil
		}
	}
	return max(room, 0), nil
}

// Turn is the turn of a session that waits.
type Turn struct {
	Session string
	Most    int  // the slots that its user may hold, if the user holds as many; 0 = that does not keep it
	Unknown bool // the limits of its user are not known, which keeps it
	Bound   bool // its sharing key may have no more containers now: it waits for a slot beside one that there is
}

// Turns returns the sessions that wait, in the order of service, and what keeps each beside the lack of slots.
func (q *Queue) Turns(ctx context.Context) (turns []Turn, err error) {
	queue, users, err := q.read(ctx)
	if err != nil || len(queue) == 0 {
		return nil, err
	}
	bound := make(map[string]bool)
	err = q.cfg.Store.View(ctx, func(v store.View) error {
		for _, w := range queue {
			if _, known := bound[w.container]; known {
				continue
			}
			room, err := q.containerRoom(v, w.container)
			if err != nil {
				return err
			}
			bound[w.container] = room == 0
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range fair(queue, users) {
		turn := Turn{Session: t.id, Unknown: !t.user.known, Bound: bound[t.container]}
		if t.user.known && t.heldBack() {
			turn.Most = t.user.most
		}
		turns = append(turns, turn)
	}
	return turns, nil
}
