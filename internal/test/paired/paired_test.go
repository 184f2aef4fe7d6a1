package paired

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestIntervalsHoldWhatIsTrue(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	times := func(mean time.Duration) func() time.Duration {
		return func() time.Duration { return mean + time.Duration(random.NormFloat64()*float64(time.Millisecond)) }
	}
	for _, c := range []struct {
		a, b              time.Duration
		ratio, difference float64
	}{
		{20 * time.Millisecond, 20 * time.Millisecond, 1, 0},
		{30 * time.Millisecond, 20 * time.Millisecond, 1.5, 10},
	} {
		var ts Times
		ts.Run(101, times(c.a), times(c.b))
		for name, e := range map[string]struct {
			Estimate
			want, wide float64
		}{
			"ratio": {ts.Ratio(), c.ratio, 0.1}, "difference": {ts.Difference(), c.difference, 2},
		} {
			if e.Low > e.want || e.High < e.want || e.Value < e.Low || e.Value > e.High || e.High-e.Low > e.wide {
				t.Errorf("%v and %v: the %s is %+v; want %v", c.a, c.b, name, e.Estimate, e.want)
			}
		}
	}
}

func TestRunTakesTurns(t *testing.T) {
	var order string
	var ts Times
	note := func(name string) func() time.Duration {
		return func() time.Duration { order += name; return time.Duration(len(order)) }
	}
	ts.Run(4, note("a"), note("b"))
	if order != "abbaabba" {
		t.Errorf("the order was %q", order)
	}
	if ts.A[1] != 4 || ts.B[1] != 3 {
		t.Errorf("times of A %v, of B %v", ts.A, ts.B)
	}
}
