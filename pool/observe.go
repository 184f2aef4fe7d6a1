package pool

import (
	"context"
	"time"

	"github.com/berth-go/berth/store"
)

// look asks the cloud what there is.
func (r *run) look(ctx context.Context) {
	asked := time.Now()
	callCtx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	machines, err := r.cfg.Cloud.List(callCtx)
	if err != nil {
		r.failed(ctx, "cannot list the machines", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listErr = err
	if err == nil {
		r.machines, r.listedAt = machines, asked
	}
}

// lookAgain asks the cloud in the background when the last look was interval ago: one that does not answer must not
// hold up the rest. It returns when the next look is due.
func (r *run) lookAgain(ctx context.Context, interval time.Duration, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if due := r.looked.Add(interval); now.Before(due) {
		return due
	}
	if r.looking {
		return now.Add(interval)
	}
	r.looking, r.looked = true, now
	r.going.Go(func() {
		r.look(ctx)
		r.mu.Lock()
		r.looking = false
		r.mu.Unlock()
		r.Wake()
	})
	return now.Add(interval)
}

// observe reads the store, and puts what the cloud said last beside it: a machine that was launched after that is not
// missed, and one that the cloud listed before is known to the store by now.
func (r *run) observe(ctx context.Context) (snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	var s snapshot
	err := r.cfg.Store.View(ctx, func(v store.View) error {
		s.instances = nil
		pool, err := store.Find[*store.Pool](v, store.PoolKey())
		if err != nil {
			return err
		}
		if pool != nil {
			s.pool = *pool
		}
		s.instances, err = allInstances(v)
		return err
	})
	if err != nil {
		return s, err
	}
	if s.demand, err = r.cfg.Demand(ctx); err != nil {
		return s, err
	}
	r.note(&s, time.Now())
	return s, nil
}

func allInstances(v store.View) ([]*store.Instance, error) {
	var all []*store.Instance
	q := store.InstanceQuery{Page: store.Page{Limit: store.MaxLimit}}
	for {
		page, err := v.Instances(q)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < q.Size() {
			return all, nil
		}
		q.After = page[len(page)-1].ID
	}
}
