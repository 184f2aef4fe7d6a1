package sim

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/testenv"
)

// TestSweep runs a small load with one fault at a time: at some calls of each sort, or, as a soak test, at every call.
func TestSweep(t *testing.T) {
	seeds, most, deadline := []uint64{0}, 3, time.Now().Add(20*time.Second)
	if testenv.Soak() {
		seeds, most, deadline = []uint64{0, 1, 3, 5}, 1<<20, time.Now().Add(time.Hour)
	}
	if os.Getenv("SIM_SEEDS") != "" {
		deadline = time.Now().Add(time.Hour)
	}
	if s, err := strconv.ParseUint(os.Getenv("SIM_SEED"), 10, 64); err == nil {
		seeds = []uint64{s}
	}
	for _, seed := range seeds {
		sweep(t, seed, most, deadline)
	}
}

func sweep(t *testing.T, seed uint64, most int, deadline time.Time) {
	p := sweepPlan(seed)
	calm := play(t, "calm", p)
	calm.fail(t, p)
	all := strikes(calm.sites, most)
	made, missed := 0, 0
	for _, s := range all {
		if time.Now().After(deadline) {
			break
		}
		made++
		p.strike = s
		struck := false
		// The interleaving, and with it who makes which call, is not quite the seed's.
		for try := range 4 {
			p.strike.any = try == 3
			o := play(t, s.String(), p)
			o.fail(t, p)
			if struck = o.struck; struck {
				break
			}
		}
		if !struck {
			missed++
		}
		if t.Failed() && os.Getenv("SIM_STOP") != "" {
			return
		}
	}
	t.Logf("seed %d: %d calls; %d of %d faults were made, of which %d met no call", seed, len(calm.sites), made, len(all), missed)
	if missed > len(all)/20 {
		t.Error("the runs differ too much")
	}
}
