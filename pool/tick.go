package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/store"
)

// tick observes, plans and acts once. It returns how long the next one may wait, unless something wakes it.
func (r *run) tick(ctx context.Context) time.Duration {
	soon := r.cfg.ScanInterval / 10
	s, err := r.observe(ctx)
	if err != nil {
		r.failed(ctx, "cannot read the pool's state", err)
		return soon
	}
	now := time.Now()
	acts := plan(s, r.cfg, now)
	r.perform(ctx, acts)

	interval := r.cfg.ScanInterval
	if moving(s.instances) {
		interval = soon
	}
	pause := min(r.lookAgain(ctx, interval, now).Sub(now), r.probeDue(ctx, s.instances, now).Sub(now))
	if len(acts) > 0 || s.demand > 0 || s.tokens <= 0 { // a launch may wait for a token
		pause = min(pause, soon)
	}
	return max(pause, min(soon, r.cfg.ProbeInterval/10)) // many instances must not keep it awake
}

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

// perform takes the steps of a plan. Those that only change the store are taken one after another, those that call
// the cloud in the background.
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
		case doTerminate, doEndStranger:
			ends = append(ends, a)
		case doForget:
			r.settle(a.instance, r.forget(ctx, a.instance, nil))
		default:
			r.settle(a.instance, r.change(ctx, a))
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

// begin takes a step for one instance in the background. Until it has returned, none is planned for that instance.
func (r *run) begin(id string, step func() error) {
	r.mu.Lock()
	r.sightOf(id, time.Now()).busy = true
	r.mu.Unlock()
	r.going.Go(func() {
		r.settle(id, step())
		r.Wake()
	})
}

// settle notes that a step for an instance has returned. After a failure the next one waits.
func (r *run) settle(id string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := r.sights[id]; g != nil {
		g.settle(err, time.Now(), id)
	}
}

func (g *sight) settle(err error, now time.Time, id string) {
	g.busy = false
	if err == nil {
		g.tries, g.after = 0, time.Time{}
		return
	}
	g.tries++
	pause := retryPause(g.tries)
	if errors.Is(err, ErrThrottled) {
		pause = jitter(pause, fmt.Sprint(id, g.tries))
	}
	g.after = now.Add(pause)
}
