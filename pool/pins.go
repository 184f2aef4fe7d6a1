package pool

import (
	"bytes"
	"context"

	"github.com/berth-go/berth/store"
)

// Pinned is what a Versioned Cloud may implement that resolves names for its launches, such as that of the newest image.
// The pool's record keeps what the Cloud has resolved. So the next planner launches the same, and the generation does not
// change with the planner.
type Pinned interface {
	// Pins returns what is resolved, in a form that only its Cloud reads; empty = nothing yet. It is called after each
	// Generation.
	Pins() []byte
	// Pin takes over what another process has resolved, unless that was for other options than these. It is called
	// before the first Generation.
	Pin(pins []byte) error
}

// recallPins lets the cloud take over what the planner before this one has resolved, once in each Run.
func (r *run) recallPins(ctx context.Context) error {
	cloud, ok := r.cfg.Cloud.(Pinned)
	r.mu.Lock()
	done := r.recalled
	r.mu.Unlock()
	if !ok || done {
		return nil
	}
	pool, err := store.Read[*store.Pool](ctx, r.store, store.PoolKey())
	if err != nil {
		return err
	}
	var pins []byte
	if pool != nil {
		pins = pool.Pins
	}
	if len(pins) > 0 {
		if err := cloud.Pin(pins); err != nil { // perhaps another version of berth stored it: it is resolved anew
			r.failures.Report("cannot use the stored resolutions for launches", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recalled, r.pins = true, pins
	return nil
}

// storePins stores what the cloud has resolved, if that has changed.
func (r *run) storePins(ctx context.Context) {
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
	err := r.store.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		pool.Pins = pins
		return tx.Put(pool)
	})
	if err != nil { // the next look tries again
		r.failures.Report("cannot store what is resolved for launches", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pins = pins
}
