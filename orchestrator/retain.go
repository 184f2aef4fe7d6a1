package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Retention bounds the snapshots that are kept. The zero Retention keeps all. Newer snapshots are kept before older ones.
type Retention struct {
	MaxAge   time.Duration // of a snapshot, since it was stored; 0 = no limit
	MaxCount int           // of snapshots; 0 = no limit
	MaxBytes int64         // of their contents. A content that several names have counts once; 0 = no limit
}

// Retain returns the snapshots that a Retention does not keep, oldest first. It looks at them from the newest to the oldest. One that is
// too old, or for which there is no room any more, is removed. One whose content a newer one has takes no room of MaxBytes.
// Of a snapshot that is larger than the room that is left, smaller and older ones are kept nevertheless. Entries are not changed.
func Retain(entries []Snapshot, keep Retention, now time.Time) (remove []Snapshot) {
	newest := slices.Clone(entries)
	slices.SortFunc(newest, func(a, b Snapshot) int {
		if c := b.Stored.Compare(a.Stored); c != 0 {
			return c
		}
		return strings.Compare(a.Name.String(), b.Name.String()) // any order that all processes agree on
	})
	var (
		count int
		bytes int64
		kept  = make(map[string]bool) // digests
	)
	for _, e := range newest {
		room := e.Size
		if kept[e.Digest] {
			room = 0
		}
		switch {
		case keep.MaxAge > 0 && now.Sub(e.Stored) > keep.MaxAge,
			keep.MaxCount > 0 && count >= keep.MaxCount,
			keep.MaxBytes > 0 && room > keep.MaxBytes-bytes:
			remove = append(remove, e)
		default:
			count++
			bytes += room
			kept[e.Digest] = true
		}
	}
	slices.Reverse(remove)
	return remove
}

// Swept is what a call of SweepSnapshots has done.
type Swept struct {
	Kept    int // snapshots
	Removed int // snapshots that are not to be kept any more. Those that cannot be deleted are in the error, too
	Corrupt int // snapshots whose description is damaged, which are deleted, too
	Collected
}

// SweepSnapshots removes the snapshots of a store that are not to be kept, and then collects the contents that have had no name for a
// grace period. Each kind has a Retention of its own; one that is not in keep is kept. The content of a snapshot that stays is never
// removed, whatever other names it had, and neither is an upload that is under way. Any number of processes may sweep at a time.
//
// A snapshot that cannot be deleted stays until a later sweep, and the others are deleted nevertheless. The error joins all faults.
func SweepSnapshots(ctx context.Context, store SnapshotStore, keep map[SnapshotKind]Retention, now time.Time) (Swept, error) {
	var (
		swept   Swept
		entries = make(map[SnapshotKind][]Snapshot)
		faults  []error
		remove  []SnapshotName
	)
	for e, err := range store.List(ctx, "") {
		switch {
		case errors.Is(err, ErrSnapshotCorrupt):
			swept.Corrupt++
			remove = append(remove, e.Name)
		case err != nil:
			return swept, fmt.Errorf("list the snapshots: %w", err) // what is not listed would seem to have gone
		default:
			swept.Kept++
			entries[e.Name.Kind] = append(entries[e.Name.Kind], e)
		}
	}
	for kind, retention := range keep {
		for _, e := range Retain(entries[kind], retention, now) {
			swept.Kept--
			swept.Removed++
			remove = append(remove, e.Name)
		}
	}
	for _, name := range remove {
		if err := store.Delete(ctx, name); err != nil {
			faults = append(faults, fmt.Errorf("delete snapshot %s: %w", name, err))
		}
	}
	var err error
	if swept.Collected, err = store.Collect(ctx); err != nil {
		faults = append(faults, fmt.Errorf("collect the contents of deleted snapshots: %w", err))
	}
	return swept, errors.Join(faults...)
}
