package lease_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth/internal/lease"
	"github.com/berth-go/berth/store"
)

func TestWatch(t *testing.T) {
	const term = 10 * time.Second
	t0 := time.Now()
	held := func(fence, beat uint64) *store.Lease {
		return &store.Lease{Holder: "h", Fence: fence, Beat: beat, Term: term}
	}
	type look struct {
		seen *store.Lease
		at   time.Duration
		dead bool
	}
	for rule, looks := range map[string][]look{
		"no lease is free":                         {{nil, 0, true}},
		"a released lease is free":                 {{&store.Lease{Fence: 3, Term: term}, 0, true}},
		"one that is seen first is not dead":       {{held(1, 7), time.Hour, false}},
		"a whole term without a beat is dead":      {{held(1, 1), 0, false}, {held(1, 1), term - 1, false}, {held(1, 1), term, true}},
		"a beat begins the term anew":              {{held(1, 1), 0, false}, {held(1, 2), term - 1, false}, {held(1, 2), term, false}, {held(1, 2), 2*term - 1, true}},
		"so does another fence with the same beat": {{held(1, 1), 0, false}, {held(2, 1), term, false}},
		"so does another holder": {{held(1, 1), 0, false},
			{&store.Lease{Holder: "other", Fence: 1, Beat: 1, Term: term}, term, false}},
		"the lease's own term counts": {{held(1, 1), 0, false}, {held(1, 1), 2 * time.Second, false}},
		"one without a term has the watcher's": {{&store.Lease{Holder: "h"}, 0, false},
			{&store.Lease{Holder: "h"}, 2 * time.Second, true}},
	} {
		t.Run(rule, func(t *testing.T) {
			w := lease.Watch{Term: 2 * time.Second}
			for i, l := range looks {
				if dead := w.Dead(l.seen, t0.Add(l.at)); dead != l.dead {
					t.Errorf("look %d: dead is %v", i+1, dead)
				}
			}
		})
	}
}
