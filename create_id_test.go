package berth

import (
	"slices"
	"testing"
	"time"
)

func TestSessionIDsSortByTime(t *testing.T) {
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var ids []string
	seen := make(map[string]bool)
	for i := range 1000 {
		id := newSessionID(begun.Add(time.Duration(i*i) * time.Millisecond))
		if seen[id] || len(id) != len("s-")+21 {
			t.Fatalf("the ID %d is %q", i, id)
		}
		seen[id] = true
		ids = append(ids, id)
	}
	if !slices.IsSorted(ids) {
		t.Error("IDs do not sort by the time at which they were made")
	}
	if newSessionID(begun) == newSessionID(begun) {
		t.Error("two sessions of one moment have one ID")
	}
}
