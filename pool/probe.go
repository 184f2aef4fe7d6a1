package pool

import (
	"context"
	"time"

	"github.com/berth-go/berth/store"
)

// probeDue starts the probes that are due, each by itself: an engine that hangs must not hold up the others. It
// returns when the next one is due, at the latest after ProbeInterval.
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
		g := r.sightOf(in.ID, now)
		if in.Address == "" || g.probing {
			continue
		}
		if !now.Before(g.nextProbe) || g.probed != in.Address {
			g.probing, g.nextProbe = true, now.Add(interval)
			r.going.Go(func() { r.probe(ctx, in, g) })
		}
		if g.nextProbe.Before(next) {
			next = g.nextProbe
		}
	}
	return next
}

// probe asks one engine, and makes the Manager look when that has changed something.
func (r *run) probe(ctx context.Context, in *store.Instance, g *sight) {
	probeCtx, cancel := context.WithTimeout(ctx, r.cfg.ProbeTimeout)
	defer cancel()
	err := r.cfg.Probe(probeCtx, in)
	if ctx.Err() != nil {
		return
	}
	booting := in.State == store.InstanceBooting
	r.mu.Lock()
	g.probing = false
	notice := g.notice
	g.answered(in.Address, err, booting)
	strikes, healthy, news := g.strikes, g.healthy, g.notice != notice
	r.mu.Unlock()

	if !healthy && !booting {
		r.probeFailures.Add(1)
		r.cfg.Logger.Warn("an instance does not answer", "instance", in.ID, "strikes", strikes, "err", err)
	}
	if booting && healthy || news || strikes >= r.cfg.ProbeStrikes {
		r.Wake()
	}
}
