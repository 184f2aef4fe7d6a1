package session

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSessionIDsSortByTime(t *testing.T) {
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var ids []string
	seen := make(map[string]bool)
	for i := range 1000 {
		id := newID(begun.Add(time.Duration(i*i) * time.Millisecond))
		if seen[id] || len(id) != len("s-")+21 {
			t.Fatalf("the ID %d is %q", i, id)
		}
		seen[id] = true
		ids = append(ids, id)
	}
	if !slices.IsSorted(ids) {
		t.Error("IDs do not sort by the time at which they were made")
	}
	if one, other := newID(begun), newID(begun); one == other {
		t.Error("two sessions of one moment have one ID")
	}
	for _, id := range []string{"", "s-\x00", "s-\xff", "../s-1", strings.Repeat("s", 129)} {
		if IsID(id) {
			t.Errorf("%q is taken for an ID", id)
		}
	}
	if !IsID(ids[0]) {
		t.Errorf("%q is taken for none", ids[0])
	}
}
