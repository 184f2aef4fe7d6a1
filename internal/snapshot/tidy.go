package snapshot

import (
	"context"
	"time"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/orchestrator"
)

// TidyInterval is the time between two sweeps of a store.
const TidyInterval = time.Hour

// layerAge is how long a prepared layer stays after it was stored last. Where it is missed later, it is made and stored again.
const layerAge = 30 * 24 * time.Hour

// Tidy removes the snapshots of sessions that are not to be kept, and old prepared layers, until ctx ends. Without a store it does nothing.
func Tidy(ctx context.Context, store orchestrator.SnapshotStore, keep orchestrator.Retention, failures *loop.Failures) {
	if store == nil {
		return
	}
	kinds := map[orchestrator.SnapshotKind]orchestrator.Retention{
		orchestrator.SnapshotSession: keep, orchestrator.SnapshotLayer: {MaxAge: layerAge},
	}
	loop.Every(ctx, TidyInterval, func() {
		if _, err := orchestrator.SweepSnapshots(ctx, store, kinds, time.Now()); err != nil && ctx.Err() == nil {
			failures.Report("cannot remove old snapshots", err)
		}
	})
}
