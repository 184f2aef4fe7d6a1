package session

import (
	"testing"
	"time"
)

// TestStandingOfALease: what may be concluded from looks at a lease's beat, by the looker's own clock.
func TestStandingOfALease(t *testing.T) {
	const idle, term = 10 * time.Minute, 11 * time.Minute
	t0 := time.Now()
	at := func(d time.Duration) time.Time { return t0.Add(d) }
	see := func(beat uint64, d time.Duration) func(*observation) {
		return func(g *observation) { g.see(beat, at(d-time.Second), at(d)) } // a look takes a second
	}
	wrote := func(beat uint64, after, before time.Duration) func(*observation) {
		return func(g *observation) {
			var l observations
			l.wrote("s", beat, at(after), at(before))
			*g = l.get("s")
		}
	}
	for _, row := range []struct {
		name  string
		looks []func(*observation)
		at    time.Duration
		want  verdict
		fresh bool
	}{
		{"seen for the first time", []func(*observation){see(7, 0)}, 0, leaseInDoubt, false},
		{"the same beat for less than the term", []func(*observation){see(7, 0), see(7, term-1)}, term - 1, leaseInDoubt, false},
		{"the same beat for the whole term", []func(*observation){see(7, 0), see(7, term)}, term, leaseOver, false},
		{"a new beat", []func(*observation){see(7, 0), see(8, 20*time.Second)}, 21 * time.Second, leaseHolds, true},
		{"a new beat, seen long after the last look", []func(*observation){see(7, 0), see(8, term)}, term, leaseInDoubt, false},
		{"a new beat is older than the look that shows it", []func(*observation){see(7, 0), see(8, 20*time.Second)},
			term - time.Second, leaseInDoubt, false},
		{"a new beat, for the whole term", []func(*observation){see(7, 0), see(8, 20*time.Second)}, term + 20*time.Second, leaseOver, false},
		{"a beat of a store that was set back", []func(*observation){see(7, 0), see(3, 20*time.Second)}, 21 * time.Second, leaseHolds, true},
		{"our own", []func(*observation){wrote(7, 0, time.Second)}, idle/10 - 1, leaseHolds, true},
		{"our own, a tenth later", []func(*observation){wrote(7, 0, time.Second)}, idle / 10, leaseHolds, false},
		{"our own is seen", []func(*observation){wrote(7, 0, time.Second), see(7, 5*time.Minute)}, 6 * time.Minute, leaseHolds, false},
		{"our own, of a use long ago", []func(*observation){wrote(7, -idle, 0)}, time.Minute, leaseInDoubt, false},
		{"our own, after the term", []func(*observation){wrote(7, 0, time.Second)}, term + time.Second, leaseOver, false},
	} {
		var g observation
		for _, look := range row.looks {
			look(&g)
		}
		if got := g.verdict(idle, at(row.at)); got != row.want {
			t.Errorf("%s: verdict %d, want %d", row.name, got, row.want)
		}
		if got := g.fresh(idle, at(row.at)); got != row.fresh {
			t.Errorf("%s: fresh is %t", row.name, got)
		}
	}
}
