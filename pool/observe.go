package pool

import (
	"context"
	"errors"
	"fmt"
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
	if ctx.Err() == nil {
		r.heard(callList, err)
	}
	r.mu.Lock()
	r.listErr = err
	r.listFails++
	if err == nil {
		r.machines, r.listedAt, r.listFails = machines, asked, 0
	}
	old := asked.Sub(r.versioned) >= versionInterval
	r.mu.Unlock()
	if old {
		r.version(ctx)
	}
}

// versionInterval is how often the cloud is asked for its generation beside the launches: a new image is no emergency.
const versionInterval = 5 * time.Minute

// version asks the cloud for its generation, and returns the last one that is known.
func (r *run) version(ctx context.Context) string {
	cloud, ok := r.cfg.Cloud.(Versioned)
	if !ok {
		return ""
	}
	asked := time.Now()
	callCtx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	var generation string
	err := r.recall(callCtx)
	recalled := err == nil
	if recalled {
		generation, err = cloud.Generation(callCtx)
	}
	if err != nil {
		r.failed(ctx, "cannot learn what a launch would depend on", err)
	} else {
		r.keep(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if recalled {
		r.versioned = asked
	}
	if err == nil {
		r.generation = generation
	}
	return r.generation
}

// lookPause is how long the last look's outcome asks the next one to wait. The caller holds mu.
func (r *run) lookPause() time.Duration {
	switch {
	case r.listErr == nil:
		return 0
	case errors.Is(r.listErr, ErrAuth):
		return freezeLook
	}
	return jitter(retryPause(r.listFails), fmt.Sprint(r.held.Holder, r.listFails))
}

// lookAgain asks the cloud in the background when the last look was interval ago: one that does not answer must not
// hold up the rest. It returns when the next look is due.
func (r *run) lookAgain(ctx context.Context, interval time.Duration, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	interval = max(interval, r.lookPause())
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
	r.tell(ctx)
	return s, nil
}

func allInstances(v store.View) ([]*store.Instance, error) {
	var all []*store.Instance
	for in, err := range store.All(func(page store.Page) ([]*store.Instance, error) {
		return v.Instances(store.InstanceQuery{Page: page})
	}) {
		if err != nil {
			return nil, err
		}
		all = append(all, in)
	}
	return all, nil
}
