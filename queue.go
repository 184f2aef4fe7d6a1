package berth

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// poll is how often a record is looked at beside the store's notifications, which may be lost.
const poll = time.Second

// awaitPlace returns the session as soon as it has a slot. The dispatcher, of this replica or another, gives it one.
func (p *Provider) awaitPlace(ctx context.Context, s *store.Session) (*store.Session, error) {
	if !s.Queued {
		return s, nil
	}
	p.emit(EventSessionQueued, s, nil)
	var timeout <-chan time.Time
	if p.cfg.QueueTimeout > 0 {
		t := time.NewTimer(p.cfg.QueueTimeout)
		defer t.Stop()
		timeout = t.C
	}
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
			return s, fmt.Errorf("%w: no slot became free in %v; up to %d instances of %d slots are configured",
				ErrNoCapacity, p.cfg.QueueTimeout, p.cfg.MaxInstances, p.cfg.MaxTasksPerInstance)
		case <-ctx.Done():
			return s, context.Cause(ctx)
		}
	}
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

// dispatchLoop gives slots to queued sessions whenever one may have become free.
func (p *Provider) dispatchLoop() {
	changed, stop := p.store.Notify(store.PoolKey()) // another replica's session was queued
	defer stop()
	for {
		left, err := p.dispatch(p.ctx)
		if err != nil {
			p.failed("cannot look at the queue", err)
		}
		pause := 10 * poll
		if left || err != nil {
			pause = poll
		}
		timer := time.NewTimer(pause)
		select {
		case <-p.kick:
		case <-changed:
		case <-timer.C:
		case <-p.ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// dispatch places as many queued sessions as have room. It reports whether any is left.
func (p *Provider) dispatch(ctx context.Context) (left bool, err error) {
	queue, held, err := p.queue(ctx)
	if err != nil {
		return true, err
	}
	if len(queue) == 0 {
		return false, nil
	}
	blocked := make(map[string]bool) // sharing keys that cannot be served now
	for _, s := range fair(queue, held) {
		if blocked[s.ContainerName] {
			continue
		}
		placed, err := p.placeQueued(ctx, s.ID)
		if err != nil {
			return true, err
		}
		if !placed {
			blocked[s.ContainerName], left = true, true
		}
	}
	if left {
		p.pool.Wake()
	}
	return left || len(queue) == store.MaxLimit, nil
}

// queue returns the sessions that wait, the longest wait first, and how many slots each of their users holds.
func (p *Provider) queue(ctx context.Context) (queue []*store.Session, held map[string]int, err error) {
	held = make(map[string]int)
	err = p.store.View(ctx, func(v store.View) error {
		record, err := store.Find[*store.Pool](v, store.PoolKey())
		if err != nil || record == nil || record.Queued == 0 {
			return err
		}
		queue, err = v.Sessions(store.SessionQuery{Queued: true, Page: store.Page{Limit: store.MaxLimit}})
		if err != nil {
			return err
		}
		for _, s := range queue {
			if _, counted := held[s.UserID]; counted {
				continue
			}
			// One page is enough to tell who holds little.
			mine, err := v.Sessions(store.SessionQuery{UserID: s.UserID, States: []store.SessionState{
				store.SessionCreating, store.SessionActive, store.SessionTerminating,
			}, Page: store.Page{Limit: store.MaxLimit}})
			if err != nil {
				return err
			}
			held[s.UserID] = 0
			for _, m := range mine {
				if !m.Queued {
					held[s.UserID]++
				}
			}
		}
		return nil
	})
	return queue, held, err
}

// fair puts a queue, that is in the order of arrival, into the order of service: next comes the one whose user holds
// the fewest slots, and among those the one that came first. So one user's hundred tasks do not starve another's one.
func fair(queue []*store.Session, held map[string]int) []*store.Session {
	type turn struct {
		held, arrival int
		s             *store.Session
	}
	turns := make([]turn, len(queue))
	ahead := make(map[string]int)
	for i, s := range queue {
		turns[i] = turn{held: held[s.UserID] + ahead[s.UserID], arrival: i, s: s}
		ahead[s.UserID]++
	}
	slices.SortFunc(turns, func(a, b turn) int {
		if a.held != b.held {
			return a.held - b.held
		}
		return a.arrival - b.arrival
	})
	ordered := make([]*store.Session, len(turns))
	for i, t := range turns {
		ordered[i] = t.s
	}
	return ordered
}

// placeQueued gives a queued session its slot, if there is one.
func (p *Provider) placeQueued(ctx context.Context, id string) (placed bool, err error) {
	var candidates []string
	var s *store.Session
	for try := 1; ; try++ {
		err = p.store.Update(ctx, []store.Key{store.PoolKey(), store.SessionKey(id)}, func(tx store.Tx) error {
			placed = false
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
			placed, err = p.place(tx, s, candidates, try > placeTries, time.Now())
			if err != nil || !placed {
				return err
			}
			s.Queued = false
			record.Queued--
			if err := tx.Put(record); err != nil {
				return err
			}
			return tx.Put(s)
		})
		if err != errNeedsInstance {
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
		groups[s.ContainerName]++
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
		return p.cfg.MaxContainersPerRepository, err
	}
	room := p.cfg.MaxContainersPerRepository
	for _, id := range sharing.Containers {
		c, in, err := containerAndInstance(v, id)
		if err != nil {
			return 0, err
		}
		switch {
		case c == nil || in == nil:
		case orchestrator.Joinable(c, in):
			room--
		case in.State == store.InstanceReady:
			return 0, nil
		}
	}
	return max(room, 0), nil
}
