package berth

import (
	"context"
	"time"

	"github.com/berth-go/berth/store"
)

// How often the loops look.
const (
	reapInterval  = time.Second
	sweepInterval = time.Minute
	watchInterval = 5 * time.Second
)

// reapLoop ends what nobody else ends: sessions whose lease ran out, and what replicas that died have begun. It also
// removes the records of sessions that ended long ago. It runs under the planner's lease.
func (p *Provider) reapLoop(ctx context.Context, held store.Lease) {
	ruled := false
	every(ctx, reapInterval, func() {
		rule := func(ctx context.Context) error {
			if ruled {
				return nil
			}
			err := p.rule(ctx, held)
			ruled = err == nil
			return err
		}
		for _, step := range []struct {
			what string
			do   func(context.Context) error
		}{
			{"cannot write down the pool's settings", rule},
			{"cannot end sessions that expired", p.expire},
			{"cannot remove old sessions", p.removeOld},
			{"cannot end the sessions of lost instances", p.endLost},
			{"cannot take over from dead replicas", p.takeOver},
		} {
			if err := step.do(ctx); err != nil && ctx.Err() == nil {
				p.failed(step.what, err)
			}
		}
	})
}

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
	queued, draining := 0, false
	for ctx.Err() == nil {
		var record *store.Pool
		err := p.store.View(ctx, func(v store.View) (err error) {
			record, err = store.Get[*store.Pool](v, store.PoolKey())
			return err
		})
		if err != nil { // the planner, who looks now and then without being woken, reports what is wrong with the store
			select {
			case <-time.After(poll):
			case <-ctx.Done():
			}
			continue
		}
		if record.Queued > queued || record.Draining && !draining {
			p.pool.Wake()
		}
		queued, draining = record.Queued, record.Draining
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

// expire ends the sessions whose lease ran out.
func (p *Provider) expire(ctx context.Context) error {
	due, err := p.sessions(ctx, store.SessionQuery{LeaseBefore: time.Now(), Page: store.Page{Limit: store.MaxLimit}})
	for _, s := range due {
		p.end(s.ID, store.Failure{Reason: endExpired})
	}
	return err
}

// removeOld removes the records of sessions that ended longer ago than they are kept.
func (p *Provider) removeOld(ctx context.Context) error {
	for {
		old, err := p.sessions(ctx, store.SessionQuery{
			EndedBefore: time.Now().Add(-p.cfg.SessionRetention), Page: store.Page{Limit: store.MaxLimit},
		})
		if err != nil || len(old) == 0 {
			return err
		}
		keys := make([]store.Key, len(old))
		for i, s := range old {
			keys[i] = s.Key()
		}
		err = p.store.Update(ctx, keys, func(tx store.Tx) error {
			for _, k := range keys {
				if err := tx.Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// endLost ends the sessions of instances that are lost, in case the one who lost them could not.
func (p *Provider) endLost(ctx context.Context) error {
	var lost []*store.Instance
	err := p.store.View(ctx, func(v store.View) (err error) {
		lost, err = v.Instances(store.InstanceQuery{States: []store.InstanceState{store.InstanceLost}})
		return err
	})
	for _, in := range lost {
		if in.Sessions > 0 {
			p.endInstance(*in)
		}
	}
	return err
}

// sweepLoop compares what the engines hold with what is stored. It runs under the planner's lease.
func (p *Provider) sweepLoop(ctx context.Context) {
	every(ctx, sweepInterval, func() {
		for in, err := range p.readyInstances(ctx) {
			if err == nil {
				err = p.orch.Sweep(ctx, in)
			}
			if err != nil && ctx.Err() == nil {
				id := ""
				if in != nil {
					id = in.ID
				}
				p.failed("cannot compare an engine with the store", err, "instance", id)
			}
		}
	})
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
		err := p.store.View(p.ctx, func(v store.View) error {
			for _, id := range ids {
				r, err := store.Find[*store.Session](v, store.SessionKey(id))
				switch {
				case err != nil:
					return err
				case r == nil:
					p.untrack(id, ErrSessionNotFound)
				case r != nil && r.State == store.SessionEnded:
					p.untrack(id, endError(r))
				}
			}
			return nil
		})
		if err != nil && p.ctx.Err() == nil {
			p.failed("cannot read the sessions", err)
		}
	})
}

func (p *Provider) sessions(ctx context.Context, q store.SessionQuery) (page []*store.Session, err error) {
	err = p.store.View(ctx, func(v store.View) error {
		page, err = v.Sessions(q)
		return err
	})
	return page, err
}
