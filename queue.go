package berth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// poll is how often a record is looked at beside the store's notifications, which may be lost.
const poll = time.Second

// awaitPlace returns the session as soon as it has a slot. The dispatcher, of this replica or another, gives it one.
// waited is how long the session has waited before; what it waits now is added.
func (p *Provider) awaitPlace(ctx context.Context, s *store.Session, waited *time.Duration) (*store.Session, error) {
	if !s.Queued {
		return s, nil
	}
	p.emit(EventSessionQueued, s, nil)
	p.pool.Wake() // it may need an instance
	var timeout <-chan time.Time
	if p.cfg.QueueTimeout > 0 {
		t := time.NewTimer(p.cfg.QueueTimeout - *waited)
		defer t.Stop()
		timeout = t.C
	}
	defer func(from time.Time) { *waited += time.Since(from) }(time.Now())
	wake, stop := p.store.Notify(s.Key())
	defer stop()
	for {
		now, err := p.record(ctx, s.ID)
		switch {
		case err != nil:
			return s, err
		case now.State != store.SessionCreating:
			return s, ErrTerminated
		case !now.Queued:
			return now, nil
		}
		select {
		case <-wake:
		case <-time.After(poll):
		case <-timeout:
			return s, fmt.Errorf("%w: no slot became free in %v; up to %d instances of %d slots are configured%s",
				ErrNoCapacity, p.cfg.QueueTimeout, p.cfg.MaxInstances, p.cfg.MaxTasksPerInstance, p.launchFailure(ctx))
		case <-ctx.Done():
			return s, context.Cause(ctx)
		}
	}
}

// launchFailure says why the pool's last launch failed, if it did.
func (p *Provider) launchFailure(ctx context.Context) string {
	record, err := p.poolRecord(ctx)
	if err != nil || record.LaunchFailure == "" {
		return ""
	}
	return "; the last launch failed: " + record.LaunchFailure
}

// awaitChange returns when a session that somebody else creates or ends is in another state.
func (p *Provider) awaitChange(ctx context.Context, s *store.Session) error {
	wake, stop := p.store.Notify(s.Key())
	defer stop()
	for {
		now, err := p.find(ctx, s.ID)
		if err != nil || now == nil || now.State != s.State {
			return err
		}
		select {
		case <-wake:
		case <-time.After(poll):
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.closing:
			return ErrClosed
		}
	}
}

// dispatchLoop gives slots to queued sessions whenever one may have become free here, or a session was queued here:
// other replicas do the same for what happens there. So to look now and then is enough to find what they have left.
func (p *Provider) dispatchLoop() {
	for {
		left, err := p.dispatch(p.ctx)
		if err != nil {
			p.failed("cannot look at the queue", err)
		}
		pause := 10 * poll
		if left || err != nil {
			pause = poll
		} else if !p.rest(dispatchRest, nil) {
			return
		}
		if !p.rest(pause, p.kick) {
			return
		}
	}
}

// dispatchRest is how long a queue in which nobody was left is not looked at: while many sessions end one after another
// and none waits, that saves most of the looks.
const dispatchRest = 10 * time.Millisecond

// rest returns after d or when woken, and reports false when the Provider is closed.
func (p *Provider) rest(d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	case <-p.ctx.Done():
	}
	return p.ctx.Err() == nil
}

// dispatch places as many queued sessions as have room. It reports whether any is left.
func (p *Provider) dispatch(ctx context.Context) (left bool, err error) {
	if waits, room, err := p.chance(ctx); err != nil || !waits || !room {
		return waits, err
	}
	queue, held, err := p.queue(ctx)
	if err != nil {
		return true, err
	}
	blocked := make(map[string]bool) // sharing keys that cannot be served now
	for _, w := range fair(queue, held) {
		if blocked[w.container] {
			continue
		}
		placed, err := p.placeQueued(ctx, w.id)
		if err != nil {
			return true, err
		}
		if placed {
			continue
		}
		blocked[w.container], left = true, true
		if _, room, err := p.chance(ctx); err != nil || !room {
			return true, err
		}
	}
	return left, nil
}

// chance reports whether any session waits, and whether any instance has a free slot.
func (p *Provider) chance(ctx context.Context) (waits, room bool, err error) {
	err = p.store.View(ctx, func(v store.View) error {
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

// waiting is what the queue needs to know of a session in it.
type waiting struct {
	id, user  string
	container string // its name, which stands for the sharing key
	since     time.Time
}

// compare orders by arrival.
func (w waiting) compare(other waiting) int {
	return cmp.Or(w.since.Compare(other.since), cmp.Compare(w.id, other.id))
}

func waitingOf(s *store.Session) waiting {
	return waiting{s.ID, s.UserID, s.ContainerName, s.CreatedAt.Truncate(time.Microsecond)} // as every store keeps it
}

// queue returns the sessions that wait, in the order of arrival, and how many slots each of their users holds.
func (p *Provider) queue(ctx context.Context) (queue []waiting, held map[string]int, err error) {
	held = make(map[string]int)
	err = p.store.View(ctx, func(v store.View) error {
		record, err := store.Find[*store.Pool](v, store.PoolKey())
		if err != nil || record == nil || record.Queued == 0 {
			return err
		}
		known := false
		if queue, known = p.line.known(record.QueueSeq); !known {
			if queue, err = readQueue(v); err != nil {
				return err
			}
			p.line.read(record.QueueSeq, queue)
		}
		for _, w := range queue {
			if _, known := held[w.user]; known {
				continue
			}
			user, err := store.Find[*store.User](v, store.UserKey(w.user))
			if err != nil {
				return err
			}
			held[w.user] = 0
			if user != nil {
				held[w.user] = user.Sessions
			}
		}
		return nil
	})
	return queue, held, err
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

// fair puts a queue, that is in the order of arrival, into the order of service: next comes the one whose user holds
// the fewest slots, and among those the one that came first. So one user's hundred tasks do not starve another's one.
func fair(queue []waiting, held map[string]int) []waiting {
	type turn struct {
		held int
		waiting
	}
	turns := make([]turn, len(queue))
	ahead := make(map[string]int)
	for i, w := range queue {
		turns[i] = turn{held[w.user] + ahead[w.user], w}
		ahead[w.user]++
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.held, b.held) })
	ordered := make([]waiting, len(turns))
	for i, t := range turns {
		ordered[i] = t.waiting
	}
	return ordered
}

// placeQueued gives a queued session its slot, if there is one.
func (p *Provider) placeQueued(ctx context.Context, id string) (placed bool, err error) {
	var candidates []string
	var s *store.Session
	var seq uint64
	for try := 1; ; try++ {
		keys := []store.Key{store.PoolKey(), store.SessionKey(id)}
		newID := orchestrator.NewContainerID()
		if s != nil {
			keys = append(keys, store.SharingKey(s.ContainerName), store.UserKey(s.UserID))
			keys = append(keys, p.hints.of(s.ContainerName, candidates, newID)...)
		}
		err = p.store.Update(ctx, keys, func(tx store.Tx) error {
			placed, seq = false, 0
			if s, err = store.Find[*store.Session](tx, store.SessionKey(id)); err != nil {
				return err
			}
			if s == nil || s.State != store.SessionCreating || !s.Queued {
				placed = true // nothing is left to do for it
				return nil
			}
			record, err := store.Get[*store.Pool](tx, store.PoolKey())
			if err != nil {
				return err
			}
			placed, err = p.place(tx, s, candidates, newID, p.cfg.maxContainers(record), try > placeTries, time.Now())
			if err != nil || !placed {
				return err
			}
			s.Queued = false
			if seq, err = leaveQueue(tx, record); err != nil {
				return err
			}
			return tx.Put(s)
		})
		if err == nil {
			p.line.went(seq, s)
			p.hints.placed(s)
		}
		if !errors.Is(err, errNeedsInstance) {
			return placed, err
		}
		if candidates, err = p.candidates(ctx, s.ContainerName); err != nil {
			return false, err
		}
		if candidates == nil {
			candidates = []string{}
		}
	}
}

// demand returns how many queued sessions wait for a slot that a new instance could give them: not those whose
// container runs on an instance that is full, nor those whose container is just being removed.
func (p *Provider) demand(ctx context.Context) (demand int, err error) {
	queue, _, err := p.queue(ctx)
	if err != nil || len(queue) == 0 {
		return 0, err
	}
	groups := make(map[string]int)
	for _, s := range queue {
		groups[s.container]++
	}
	err = p.store.View(ctx, func(v store.View) error {
		for name, waiting := range groups {
			room, err := p.roomForContainer(v, name)
			if err != nil {
				return err
			}
			// A container lies on one instance: more of its sessions than that has slots cannot be helped.
			demand += min(waiting, room*p.cfg.MaxTasksPerInstance)
		}
		return nil
	})
	return demand, err
}

// roomForContainer returns how many more containers a sharing key may have now.
func (p *Provider) roomForContainer(v store.View, name string) (int, error) {
	sharing, err := store.Find[*store.Sharing](v, store.SharingKey(name))
	if err != nil || sharing == nil {
		return p.ruling.Load().maxContainers, err
	}
	room := p.ruling.Load().maxContainers
	for _, id := range sharing.Containers {
		c, in, err := containerAndInstance(v, id)
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
