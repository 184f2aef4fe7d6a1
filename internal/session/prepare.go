package session

import (
	"context"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// preparing is how the workspace of a session is prepared.
type preparing struct {
	what  orchestrator.Prepare
	asked bool // the container was asked to prepare it
}

// prepare has the workspace prepared, unless it is. done is closed at the end.
func (o *opening) prepare() (done <-chan struct{}) {
	o.prep.asked = true
	c := store.Container{ID: o.s.Container, Name: o.s.ContainerName, SharingKey: o.s.SharingKey, Instance: o.s.Instance}
	return o.cfg.Containers.Prepare(c, o.inside, o.prep.what, o.r.Remote.URL, o.r.Branch)
}

// awaitPrepared has the workspace of a session that waits for it prepared, and waits, but no longer than it wants to. The error is the
// context's.
func (o *opening) awaitPrepared(ctx context.Context) error {
	if o.base != nil { // the snapshot has all that was prepared for the session that it is of
		return nil
	}
	o.prep.what = o.cfg.Containers.PrepareOf(o.r.Key.Repository)
	if o.prep.what.Wait == 0 || o.prep.what.IsZero() && !o.cfg.Containers.KeepsLayers(o.s.SharingKey) {
		return nil
	}
	begun := time.Now()
	defer func() { o.phases.Checkout += time.Since(begun) }()
	late := time.NewTimer(o.prep.what.Wait)
	defer late.Stop()
	select {
	case <-o.prepare():
	case <-late.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// prepared counts a session that has begun. If it has begun without a prepared layer, the next one is to have it.
func (o *opening) prepared(checkout agent.Checkout) {
	switch {
	case o.base != nil:
	case checkout.Prepared != "":
		o.count.prepared.Add(1)
	case o.prep.what.IsZero():
		kept := o.s.Start != store.StartAttached && o.cfg.Containers.KeepsLayers(o.s.SharingKey)
		if kept && !o.prep.asked { // what was promoted on another instance
			o.prepare()
		}
	default:
		o.count.unprepared.Add(1)
		if !o.prep.asked {
			o.prepare()
		}
	}
}
