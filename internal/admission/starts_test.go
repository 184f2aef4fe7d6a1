package admission

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

func TestStartsOfAMinute(t *testing.T) {
	begun := time.Date(2030, 1, 2, 3, 4, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		at    []time.Duration // of the starts
		now   time.Duration
		most  int
		n     int
		after time.Duration
	}{
		{"none", nil, 0, 1, 0, 0},
		{"one", []time.Duration{0}, 0, 2, 1, 0},
		{"as many as there may be", []time.Duration{0, 10 * time.Second}, 20 * time.Second, 2, 2, 40 * time.Second},
		{"more", []time.Duration{0, 10 * time.Second, 11 * time.Second}, 20 * time.Second, 1, 3, 51 * time.Second},
		{"just before the minute is over", []time.Duration{0}, time.Minute - 1, 1, 1, 1},
		{"the minute is over", []time.Duration{0}, time.Minute, 1, 0, 0},
		{"the last of a group counts", []time.Duration{0, 4 * time.Second}, time.Minute + time.Second, 1, 2, 3 * time.Second},
		{"a clock that is behind", []time.Duration{50 * time.Second}, 0, 1, 1, 110 * time.Second},
		{"a clock that is far behind", []time.Duration{time.Minute}, 0, 1, 0, 0},
	} {
		var all []store.Starts
		for _, at := range c.at {
			all = addStart(all, begun.Add(at))
		}
		if n, after := startsAt(all, begun.Add(c.now), c.most); n != c.n || after != c.after {
			t.Errorf("%s: %d, again after %v", c.name, n, after)
		}
	}
}

// TestNoMoreStartsThanAMinuteMayHave begins whenever it is allowed, and just when the refusal says.
func TestNoMoreStartsThanAMinuteMayHave(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for most := 1; most <= 40; most++ {
		now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
		var all []store.Starts
		var begun []time.Time
		for range 500 {
			n, after := startsAt(all, now, most)
			if n >= most {
				if after <= 0 || after > startsWindow {
					t.Fatalf("of %d: wait %v", most, after)
				}
				now = now.Add(after)
				if n, _ := startsAt(all, now, most); n >= most {
					t.Fatalf("of %d: refused when it was said to be allowed", most)
				}
				continue
			}
			all, begun = addStart(all, now), append(begun, now)
			if i := len(begun) - 1 - most; i >= 0 && now.Sub(begun[i]) < startsWindow {
				t.Fatalf("%d starts within %v", most+1, now.Sub(begun[i]))
			}
			now = now.Add(time.Duration(dice.Int64N(int64(2 * startsWindow / time.Duration(most)))))
		}
		if len(all) > int(startsWindow/startsGrain)+1 {
			t.Errorf("of %d: the record has %d entries", most, len(all))
		}
	}
}

// TestStartsOfWrongClocks: no clock makes the record grow, nor keeps a user out for long.
func TestStartsOfWrongClocks(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	var all []store.Starts
	for i := range 1000 {
		all = addStart(all, now.Add(time.Duration(i)*time.Hour))
		all = addStart(all, now.Add(-time.Duration(i)*time.Hour))
	}
	if len(all) > maxStarts {
		t.Errorf("the record has %d entries", len(all))
	}
	if n, after := startsAt(all, now.Add(2*time.Minute), 1); n > 0 {
		t.Errorf("%d count, for %v", n, after)
	}
}
