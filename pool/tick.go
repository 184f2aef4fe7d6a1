package pool

import (
	"context"
	"time"

	"github.com/berth-go/berth/store"
)

// tick observes, plans and acts once. It returns how long to wait before the next tick, unless something wakes the
// Manager.
func (r *run) tick(ctx context.Context) time.Duration {
	soon := r.cfg.ScanInterval / 10
	began := time.Now()
	s, err := r.observe(ctx)
	if err != nil {
		r.failures.Report("cannot read the pool's state", err)
		return soon
	}
	now := time.Now()
	r.storeRefusal(ctx, &s)
	r.storeConditions(ctx, &s)
	acts := plan(s, r.cfg, now)
	acting, done := r.cfg.OnTick(ctx, began, len(acts))
	r.perform(acting, acts)
	done()

	interval := r.cfg.ScanInterval
	if moving(s.instances) || len(s.pool.Destroyers) > 0 {
		interval = soon
	}
	least := min(soon, r.cfg.ProbeInterval/10)             // many instances must not keep it awake
	if unseen(s.pool.Doubts, s.listedAt, r.cfg, now) > 0 { // the next launch may have to wait for a newer list
		interval, least = doubtLook, doubtLook
	}
	pause := min(r.lookAgain(ctx, interval, now).Sub(now), r.probeDue(ctx, s.instances, now).Sub(now))
	if len(acts) > 0 || s.demand > 0 || s.tokens <= 0 { // a launch may wait for a token
		pause = min(pause, soon)
	}
	return max(pause, least)
}

// doubtLook is how soon after a refused launch the cloud is asked for its list: the list must be newer than the refusal.
const doubtLook = 10 * time.Millisecond

// moving reports whether a machine is coming or going, so that the cloud should be asked often.
func moving(instances []*store.Instance) bool {
	for _, in := range instances {
		switch in.State {
		case store.InstanceLaunching, store.InstanceBooting, store.InstanceTerminating, store.InstanceLost:
			return true
		}
	}
	return false
}

// perform takes the actions of a plan. Actions that only change the store are taken one after another; those that call the
// cloud are taken in the background.
func (r *run) perform(ctx context.Context, acts []action) {
	launches, repeats := 0, 0
	var ends []action
	explainer, _ := r.cfg.Cloud.(Explainer)
	for _, a := range acts {
		if explainer != nil && a.verb == doRetire && a.failed && a.cloudID != "" {
			r.begin(a.instance, func() error { return r.explain(ctx, explainer, a) })
			continue
		}
		switch a.verb {
		case doLaunch:
			launches++
		case doRepeat:
			repeats++
			r.begin(a.instance, func() error { return r.repeat(ctx, a.instance) })
		case doProve:
			repeats++
			r.begin(a.instance, func() error { return r.prove(ctx, a.instance) })
		case doTerminate, doEndUnknown:
			ends = append(ends, a)
		case doForget:
			r.finish(a.instance, r.forget(ctx, a.instance, nil, false))
		default:
			r.finish(a.instance, r.change(ctx, a))
		}
	}
	r.mu.Lock()
	r.bucket.take(launches + repeats)
	r.mu.Unlock()
	if launches > 0 {
		r.launch(ctx, launches)
	}
	r.end(ctx, ends)
}

// begin takes an action on one instance in the background. No other is planned for that instance until it has ended.
func (r *run) begin(id string, act func() error) {
	r.mu.Lock()
	r.observationOf(id, time.Now()).busy = true
	r.mu.Unlock()
	r.going.Go(func() {
		r.finish(id, act())
		r.Wake()
	})
}

// finish records that an action on an instance has ended.
func (r *run) finish(id string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if obs := r.observations[id]; obs != nil {
		obs.actionEnded(err, time.Now(), id)
	}
}
