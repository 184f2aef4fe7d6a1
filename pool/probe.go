package pool

import (
	"context"
	"time"

	"github.com/berth-go/berth/store"
)

// probeDue starts the probes that are due, each in a goroutine of its own, so that an engine that hangs does not hold up
// the others. It returns when the next probe is due, at the latest after ProbeInterval.
func (r *run) probeDue(ctx context.Context, instances []*store.Instance, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := now.Add(r.cfg.ProbeInterval)
	for _, in := range instances {
		interval := r.cfg.ProbeInterval
		switch in.State {
		case store.InstanceBooting:
			interval /= 10
		case store.InstanceReady, store.InstanceCordoned:
		default:
			continue
		}
		obs := r.observationOf(in.ID, now)
		if in.Address == "" || obs.probing {
			continue
		}
		if !now.Before(obs.nextProbe) || obs.probed != in.Address {
			obs.probing, obs.nextProbe = true, now.Add(interval)
			r.going.Go(func() { r.probe(ctx, in, obs) })
		}
		if obs.nextProbe.Before(next) {
			next = obs.nextProbe
		}
	}
	return next
}

// probe asks one engine, and wakes the Manager if the answer changes something.
func (r *run) probe(ctx context.Context, in *store.Instance, obs *observation) {
	probeCtx, cancel := context.WithTimeout(ctx, r.cfg.ProbeTimeout)
	defer cancel()
	err := r.cfg.Probe(probeCtx, in)
	if ctx.Err() != nil {
		return
	}
	booting := in.State == store.InstanceBooting
	r.mu.Lock()
	obs.probing = false
	notice := obs.notice
	obs.probeEnded(in.Address, err, booting)
	strikes, healthy, news := obs.strikes, obs.healthy, obs.notice != notice
	r.mu.Unlock()

	if !healthy && !booting {
		r.probeFailures.Add(1)
		r.cfg.Logger.Warn("an instance does not answer", "instance", in.ID, "strikes", strikes, "err", err)
	}
	if booting && healthy || news || strikes >= r.cfg.ProbeStrikes {
		r.Wake()
	}
}
