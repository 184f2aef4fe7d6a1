package pool

import (
	"context"
	"time"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// watchQueue wakes the planner when another process asks for something on the pool's record: a session begins to wait for
// a slot, the instances are to be retired, or an operator wishes something for one.
func (r *run) watchQueue(ctx context.Context) {
	changed, stop := r.store.Notify(store.PoolKey())
	defer stop()
	var seen store.Pool
	for ctx.Err() == nil {
		record, err := store.ReadPool(ctx, r.store)
		if err != nil { // tick does not wait for a notification, and reports failures of the store
			_ = loop.Sleep(ctx, time.Second)
			continue
		}
		if record.Queued > 0 && record.QueueSeq != seen.QueueSeq || record.Draining && !seen.Draining || record.Wishes != seen.Wishes {
			r.Wake()
		}
		seen = *record
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}
