package pool

import (
	"bytes"
	"context"
	"slices"

	"github.com/berth-go/berth/store"
)

// Pinned is what a Versioned Cloud may implement that resolves names for its launches, such as that of the newest image.
// What it has resolved is kept in the pool's record, so that whoever plans next launches the same, and the generation
// does not change with the planner.
type Pinned interface {
	// Pins returns what is resolved, in a form that only its Cloud reads; empty = nothing yet. It is called after each
	// Generation.
	Pins() []byte
	// Pin takes over what another process has resolved, unless that was for other options than these. It is called
	// before the first Generation.
	Pin(pins []byte) error
}

// recall lets the cloud take over what the planner before this one has resolved, once in each Run.
func (r *run) recall(ctx context.Context) error {
	cloud, ok := r.cfg.Cloud.(Pinned)
	r.mu.Lock()
	done := r.recalled
	r.mu.Unlock()
	if !ok || done {
		return nil
	}
	var pins []byte
	err := r.cfg.Store.View(ctx, func(v store.View) error {
		pool, err := store.Find[*store.Pool](v, store.PoolKey())
		if pool != nil {
			pins = slices.Clone(pool.Pins)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(pins) > 0 {
		if err := cloud.Pin(pins); err != nil { // of another version of berth, perhaps: it is resolved anew
			r.failed(ctx, "cannot use what was resolved for launches before", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recalled, r.pins = true, pins
	return nil
}

// keep stores what the cloud has resolved, if that has changed.
func (r *run) keep(ctx context.Context) {
	cloud, ok := r.cfg.Cloud.(Pinned)
	if !ok {
		return
	}
	pins := cloud.Pins()
	r.mu.Lock()
	known := bytes.Equal(pins, r.pins)
	r.mu.Unlock()
	if known || len(pins) == 0 {
		return
	}
	err := r.update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		pool.Pins = pins
		return tx.Put(pool)
	})
	if err != nil { // the next look tries again
		r.failed(ctx, "cannot store what is resolved for launches", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pins = pins
}
