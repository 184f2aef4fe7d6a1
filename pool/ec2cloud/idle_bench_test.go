package ec2cloud_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth/pool"
)

// idleCalls returns how many calls a pool of idle instances makes in a period, over the wire.
func idleCalls(t *testing.T, size int, in time.Duration) (calls int) {
	inRig(t, quick, func(r *rig) { r.opts.RateShare = 1 }, func(r *rig) {
		_, _, stop := r.manage(func(c *pool.Config) { c.MinInstances, c.MaxInstances, c.ProbeInterval = size, size, time.Minute })
		defer stop()
		time.Sleep(3 * time.Minute)
		if n := r.alive(); n != size {
			r.Fatalf("%d instances", n)
		}
		before := len(r.server.Requests(""))
		time.Sleep(in)
		calls = len(r.server.Requests("")) - before
	})
	return calls
}

const mostIdleCalls = 400 // of a hundred instances, in an hour

func TestIdlePoolIsCheapWithItsManager(t *testing.T) {
	if n := idleCalls(t, 10, 20*time.Minute); n > mostIdleCalls/3 || n < 100 {
		t.Errorf("%d calls in 20 minutes", n)
	}
}

// BenchmarkIdlePool reports how many calls a hundred idle instances cause.
func BenchmarkIdlePool(b *testing.B) {
	most := 0
	for b.Loop() {
		all := func(string, string) (bool, error) { return true, nil }
		if !testing.RunTests(all, []testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) { most = max(most, idleCalls(t, 100, time.Hour)) }}}) {
			b.Fatal("the scenario failed")
		}
	}
	b.ReportMetric(float64(most), "calls/h")
	if most > mostIdleCalls {
		b.Errorf("%d calls in an hour, of at most %d", most, mostIdleCalls)
	}
}
