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
		r.failures.Report("cannot list the machines", err)
	}
	if ctx.Err() == nil {
		r.recordCall(sortList, err)
	}
	r.mu.Lock()
	r.listErr = err
	r.listFails++
	if err == nil {
		r.machines, r.listedAt, r.listFails = distinct(machines), asked, 0
	}
	old := asked.Sub(r.versioned) >= versionInterval
	r.mu.Unlock()
	if err == nil && r.cfg.OnList != nil {
		r.cfg.OnList(distinct(machines), asked)
	}
	if old {
		r.version(ctx)
	}
}

// versionInterval is how often the cloud is asked for its generation, beside the launches. A new image is no emergency.
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
	err := r.recallPins(callCtx)
	recalled := err == nil
	if recalled {
		generation, err = cloud.Generation(callCtx)
	}
	if err != nil {
		r.failures.Report("cannot learn what a launch would depend on", err)
	} else {
		r.storePins(ctx)
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

// lookPause is the shortest time between the last look and the next one, by how the last one ended. The caller holds mu.
func (r *run) lookPause() time.Duration {
	switch {
	case r.listErr == nil:
		return 0
	case errors.Is(r.listErr, ErrAuth):
		return refusedLook
	}
	return jitter(retryPause(r.listFails), fmt.Sprint(r.holder, r.listFails))
}

// lookAgain asks the cloud in the background if the last look was interval ago, so that a cloud that does not answer
// holds up nothing else. It returns when the next look is due.
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

// observe reads the store, and compares it with the cloud's last list. The list is the older of the two: the store knows
// each machine on it by now, and a machine that was launched since is not taken for missing.
func (r *run) observe(ctx context.Context) (snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	var s snapshot
	err := r.store.View(ctx, func(v store.View) error {
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
	now := time.Now()
	s.pool.Doubts = r.sinceKnown(s.pool.Doubts, now)
	r.complete(&s, now)
	r.logConditions()
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
