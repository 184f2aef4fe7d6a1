package orchestrator_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-go/berth/orchestrator"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// snapshot returns one that is so many hours old.
func snapshot(key string, hours int, size int64, digest string) orchestrator.Snapshot {
	return orchestrator.Snapshot{
		Name:   orchestrator.SnapshotName{Kind: orchestrator.SnapshotLayer, Key: key},
		Digest: digest, Size: size, Stored: now.Add(-time.Duration(hours) * time.Hour),
	}
}

func keys(snapshots []orchestrator.Snapshot) string {
	var all []string
	for _, s := range snapshots {
		all = append(all, s.Name.Key)
	}
	return strings.Join(all, " ")
}

func TestRetain(t *testing.T) {
	a, b, c := snapshot("a", 1, 100, "A"), snapshot("b", 2, 200, "B"), snapshot("c", 3, 300, "C")
	again := snapshot("again", 30, 100, "A")
	for _, test := range []struct {
		rule    string
		entries []orchestrator.Snapshot
		keep    orchestrator.Retention
		remove  string // in this order
	}{
		{"without bounds all stay", []orchestrator.Snapshot{c, a, b}, orchestrator.Retention{}, ""},
		{"nothing is removed of nothing", nil, orchestrator.Retention{MaxCount: 1, MaxBytes: 1, MaxAge: 1}, ""},
		{"older than MaxAge goes", []orchestrator.Snapshot{c, a, b}, orchestrator.Retention{MaxAge: 90 * time.Minute}, "c b"},
		{"as old as MaxAge stays", []orchestrator.Snapshot{c, a, b}, orchestrator.Retention{MaxAge: 2 * time.Hour}, "c"},
		{"the newest stay", []orchestrator.Snapshot{c, a, b}, orchestrator.Retention{MaxCount: 1}, "c b"},
		{"the newest for which there is room stay", []orchestrator.Snapshot{c, a, b}, orchestrator.Retention{MaxBytes: 300}, "c"},
		{"one byte too few", []orchestrator.Snapshot{c, a, b}, orchestrator.Retention{MaxBytes: 299}, "c b"},
		{"of one that is too large, older ones stay", []orchestrator.Snapshot{snapshot("huge", 0, 1000, "H"), a, b}, orchestrator.Retention{MaxBytes: 300}, "huge"},
		{"the content of a newer one takes no room", []orchestrator.Snapshot{again, a, b}, orchestrator.Retention{MaxBytes: 300}, ""},
		{"but it counts", []orchestrator.Snapshot{again, a, b}, orchestrator.Retention{MaxCount: 2}, "again"},
		{"and ages", []orchestrator.Snapshot{again, a, b}, orchestrator.Retention{MaxAge: 24 * time.Hour}, "again"},
		{"the content of a removed one takes no room", []orchestrator.Snapshot{c, a, b}, orchestrator.Retention{MaxCount: 2, MaxBytes: 300}, "c"},
		{"at equal times the names decide", []orchestrator.Snapshot{snapshot("y", 1, 1, "Y"), snapshot("x", 1, 1, "X")}, orchestrator.Retention{MaxCount: 1}, "y"},
		{"a clock that went back removes nothing", []orchestrator.Snapshot{snapshot("future", -5, 1, "F")}, orchestrator.Retention{MaxAge: time.Hour}, ""},
	} {
		before := slices.Clone(test.entries)
		if got := keys(orchestrator.Retain(test.entries, test.keep, now)); got != test.remove {
			t.Errorf("%s: %q goes, not %q", test.rule, got, test.remove)
		}
		if !slices.Equal(before, test.entries) {
			t.Errorf("%s: the entries were changed", test.rule)
		}
	}
}

// TestRetainKeepsItsBounds: what stays is within the bounds, and a second call removes nothing.
func TestRetainKeepsItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var entries []orchestrator.Snapshot
		for i := range rapid.IntRange(0, 20).Draw(t, "entries") {
			content := rapid.IntRange(0, 6).Draw(t, "content")
			entries = append(entries, snapshot(string(rune('a'+i)), rapid.IntRange(0, 50).Draw(t, "age"), int64(content*100), string(rune('A'+content))))
		}
		keep := orchestrator.Retention{
			MaxAge:   time.Duration(rapid.IntRange(0, 60).Draw(t, "MaxAge")) * time.Hour,
			MaxCount: rapid.IntRange(0, 25).Draw(t, "MaxCount"),
			MaxBytes: int64(rapid.IntRange(0, 3000).Draw(t, "MaxBytes")),
		}
		remove := orchestrator.Retain(entries, keep, now)
		kept := slices.DeleteFunc(slices.Clone(entries), func(e orchestrator.Snapshot) bool { return slices.Contains(remove, e) })
		if len(kept)+len(remove) != len(entries) {
			t.Fatalf("%d stay and %d go of %d", len(kept), len(remove), len(entries))
		}
		sizes := make(map[string]int64)
		for _, e := range kept {
			sizes[e.Digest] = e.Size
			if keep.MaxAge > 0 && now.Sub(e.Stored) > keep.MaxAge {
				t.Fatalf("%+v is too old", e)
			}
		}
		var bytes int64
		for _, size := range sizes {
			bytes += size
		}
		if keep.MaxBytes > 0 && bytes > keep.MaxBytes || keep.MaxCount > 0 && len(kept) > keep.MaxCount {
			t.Fatalf("%d with %d bytes stay: %+v", len(kept), bytes, keep)
		}
		if again := orchestrator.Retain(kept, keep, now); len(again) != 0 {
			t.Fatalf("a second call removes %v", again)
		}
	})
}

// listed is a store with a list, which records what is deleted.
type listed struct {
	orchestrator.SnapshotStore
	entries   []orchestrator.Snapshot
	faults    []error // one for each entry
	deleted   []string
	stuck     string // the key that cannot be deleted
	collected bool
}

func (l *listed) List(context.Context, orchestrator.SnapshotKind) iter.Seq2[orchestrator.Snapshot, error] {
	return func(yield func(orchestrator.Snapshot, error) bool) {
		for i, e := range l.entries {
			if !yield(e, l.faults[i]) {
				return
			}
		}
	}
}

func (l *listed) Delete(_ context.Context, name orchestrator.SnapshotName) error {
	if name.Key == l.stuck {
		return io.ErrClosedPipe
	}
	l.deleted = append(l.deleted, name.Key)
	return nil
}

func (l *listed) Collect(context.Context) (orchestrator.Collected, error) {
	l.collected = true
	return orchestrator.Collected{Contents: 7}, nil
}

func TestSweepSnapshots(t *testing.T) {
	keep := map[orchestrator.SnapshotKind]orchestrator.Retention{orchestrator.SnapshotLayer: {MaxCount: 1}}
	mirror := orchestrator.Snapshot{Name: orchestrator.SnapshotName{Kind: orchestrator.SnapshotMirror, Key: "m"}, Stored: now.Add(-1e6 * time.Hour)}
	entries := []orchestrator.Snapshot{mirror, snapshot("old", 9, 1, "O"), snapshot("older", 10, 1, "P"), snapshot("bad", 0, 0, ""), snapshot("new", 1, 1, "N")}
	l := &listed{entries: entries, faults: []error{nil, nil, nil, orchestrator.ErrSnapshotCorrupt, nil}, stuck: "older"}
	swept, err := orchestrator.SweepSnapshots(t.Context(), l, keep, now)
	want := orchestrator.Swept{Kept: 2, Removed: 2, Corrupt: 1, Collected: orchestrator.Collected{Contents: 7}}
	if slices.Sort(l.deleted); swept != want || !slices.Equal(l.deleted, []string{"bad", "old"}) {
		t.Errorf("%+v, and deleted %v", swept, l.deleted)
	}
	if !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), "layer/older") {
		t.Errorf("the error of what cannot be deleted: %v", err)
	}

	l = &listed{entries: append(entries, orchestrator.Snapshot{}), faults: []error{nil, nil, nil, nil, nil, io.ErrUnexpectedEOF}}
	if _, err := orchestrator.SweepSnapshots(t.Context(), l, keep, now); !errors.Is(err, io.ErrUnexpectedEOF) || len(l.deleted) > 0 || l.collected {
		t.Errorf("after a list that broke off: %v, deleted %v, collected %v", err, l.deleted, l.collected)
	}
}
