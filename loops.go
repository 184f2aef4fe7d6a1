package berth

import (
	"context"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// How often the loops look.
const (
	heedInterval  = time.Second // so that a replica is found dead within its lease and this
	watchInterval = 5 * time.Second
	sweepInterval = time.Minute
)

// every calls fn at once and then after each interval, until ctx ends.
func every(ctx context.Context, interval time.Duration, fn func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		fn()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// hearLoop wakes the planner when another replica asks for something on the pool's record: a session begins to wait for
// a slot, or instances are to be retired. It runs under the planner's lease.
func (p *Provider) hearLoop(ctx context.Context) {
	wake, stop := p.store.Notify(store.PoolKey())
	defer stop()
	var seen store.Pool
	for ctx.Err() == nil {
		record, err := p.poolRecord(ctx)
		if err != nil { // the planner, who looks now and then without being woken, reports what is wrong with the store
			select {
			case <-time.After(poll):
			case <-ctx.Done():
			}
			continue
		}
		if record.Queued > 0 && record.QueueSeq != seen.QueueSeq || record.Draining && !seen.Draining {
			p.pool.Wake()
		}
		seen = *record
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

// sweepLoop compares what the engines hold with what is stored. It runs under the planner's lease.
func (p *Provider) sweepLoop(ctx context.Context) {
	every(ctx, sweepInterval, func() {
		for in, err := range p.readyInstances(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					p.failed("cannot find the instances whose engines are to be compared with the store", err)
				}
				return
			}
			p.sweep(ctx, in)
		}
	})
}

func (p *Provider) sweep(ctx context.Context, in *store.Instance) {
	if err := p.orch.Sweep(ctx, in); err != nil && ctx.Err() == nil {
		p.failed("cannot compare an engine with the store", err, "instance", in.ID)
	}
}

// watchLoop notices that another replica has ended sessions that are known here: often where somebody waits for the
// end, and now and then for all, so that what is known of them is forgotten.
func (p *Provider) watchLoop() {
	round := 0
	every(p.ctx, watchInterval, func() {
		round++
		p.mu.Lock()
		var ids []string
		for id, l := range p.live {
			if (round%12 == 0 || l.watched()) && !l.underCreation() { // whose record may not be there yet
				ids = append(ids, id)
			}
		}
		p.mu.Unlock()
		for some := range slices.Chunk(ids, watchAtOnce) {
			if err := p.notice(some); err != nil && p.ctx.Err() == nil {
				p.failed("cannot read the sessions", err)
				return
			}
		}
	})
}

// watchAtOnce bounds a View of watchLoop: of many sessions, one would take longer than a call of the store may.
const watchAtOnce = 500

// notice forgets those sessions that have ended.
func (p *Provider) notice(ids []string) error {
	return p.store.View(p.ctx, func(v store.View) error {
		for _, id := range ids {
			r, err := store.Find[*store.Session](v, store.SessionKey(id))
			switch {
			case err != nil:
				return err
			case r == nil:
				p.untrack(id, ErrSessionNotFound)
			case r.State == store.SessionEnded:
				p.untrack(id, endError(r))
			}
		}
		return nil
	})
}

func (p *Provider) sessions(ctx context.Context, q store.SessionQuery) (page []*store.Session, err error) {
	err = p.store.View(ctx, func(v store.View) error {
		page, err = v.Sessions(q)
		return err
	})
	return page, err
}

func (p *Provider) poolRecord(ctx context.Context) (record *store.Pool, err error) {
	err = p.store.View(ctx, func(v store.View) error {
		record, err = store.Get[*store.Pool](v, store.PoolKey())
		return err
	})
	return record, err
}
