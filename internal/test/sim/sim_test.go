package sim

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/internal/test/testenv"
)

// outcome is what came of a run.
type outcome struct {
	plan   plan
	faults []string
	counts map[string]int
	hash   uint64
	story  string
	log    string
	sites  []site
	struck bool
	bill   bill
	calls  int // most in a minute
}

// run is one seed, from the first task to the pool's end.
func run(t *testing.T, seed uint64) outcome { return play(t, fmt.Sprint(seed), newPlan(seed)) }

// play carries out a plan.
func play(t *testing.T, name string, p plan) (o outcome) {
	t.Run(name, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, uint64(p.dice))
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, p)
			ctx, cancel := context.WithCancel(w.ctx)
			var chaos = make(chan struct{})
			go func() { defer close(chaos); w.chaos(ctx) }()
			w.load()
			cancel()
			<-chaos
			w.actors.Wait()
			w.settle()
			cost := w.bill()
			w.works()
			w.prepares()
			w.destroy()
			o = outcome{
				plan: w.plan, faults: w.rules.faults, counts: w.trace.counts(), hash: w.trace.hash(),
				story: w.trace.tail(400), log: w.trace.log.String(), sites: w.meddler.sites, struck: w.meddler.struck,
				bill: cost, calls: w.rules.calls.most,
			}
		})
	})
	return o
}

// fail prints what is needed to see a failure again.
func (o outcome) fail(t *testing.T, p plan) {
	t.Helper()
	if len(o.faults) == 0 {
		return
	}
	t.Errorf("%s\n%s\n%s", p, strings.Join(o.faults, "\n"), p.again())
}

// rare is what must happen in some of the runs, or they test too little.
var rare = []string{
	"created", "start attached", "start warm", "start cold", "session queued", "a caller gave up",
	"a creation failed", "terminated while it is created", "asked again after a crash", "container lost",
	string(failBefore), string(failAfter), string(slow), string(hang), string(storeFails), string(storeUnknown),
	string(storeCut), string(crash), string(closing), string(killed), string(removed), string(vanished),
	string(unreachable), string(noCapacity), string(storeSlow), string(paused), string(ignored), string(clocks),
	string(refusedAlive), string(littered), string(lacking), "a command lacked memory",
	"refused: Sessions", "refused: Queued", "refused: StartsPerMinute", "revoked",
	string(operated), string(roomless), "refused for lack of rooms",
	string(refusing), string(silent), "access denied", string(unruly), "not authorized", "time accounted to a session",
	"container empty", "an empty container was joined", "an empty container gave way", "time accounted to an empty container",
	"OnEnd", "OnEnd was cut off", "a session reached its MaxLifetime",
	"a container is warm", "container warm", "the planner keeps a container warm",
	"workspace prepared", "a session began with a prepared workspace", "a preparation failed",
	"a session's work was kept", "a session's work was not kept", "a session began with what was kept", "a session was promoted",
	"a session was not promoted", "a call of the store of snapshots failed",
}

func TestSeeds(t *testing.T) {
	deadline, last := time.Now().Add(12*time.Second), uint64(200)
	if testenv.Soak() {
		deadline, last = time.Now().Add(20*time.Minute), 1<<40
	}
	if n, err := strconv.ParseUint(os.Getenv("SIM_SEEDS"), 10, 64); err == nil {
		deadline, last = time.Now().Add(time.Hour), n
	}
	most := 0
	total := make(map[string]int)
	first, _ := strconv.ParseUint(os.Getenv("SIM_FROM"), 10, 64)
	seed := first
	for seed < first+last && time.Now().Before(deadline) && !t.Failed() {
		seed++
		o := run(t, seed)
		o.fail(t, o.plan)
		for what, n := range o.counts {
			total[what] += n
		}
		most = max(most, o.calls)
	}
	t.Logf("at most %d calls to the cloud and the engines in a minute", most)
	t.Logf("%d seeds", seed-first)
	for _, what := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%6d %s", total[what], what)
	}
	for _, what := range rare {
		if total[what] == 0 && seed-first >= 100 {
			t.Errorf("never seen in %d seeds: %s", seed, what)
		}
	}
}

// TestCost runs seeds without their faults, and compares what the machines cost with a perfect packing.
func TestCost(t *testing.T) {
	var total bill
	for seed := range uint64(10) {
		p := newPlan(seed)
		p.armed = nil
		o := play(t, fmt.Sprint(seed), p)
		o.fail(t, p)
		total.add(o.bill)
	}
	total.check(t)
}

// check holds the cost of runs without faults against that of a perfect packing.
func (b bill) check(t *testing.T) {
	t.Logf("%v of machine time in %d launches, %.2f times a perfect packing's %v and %v for booting and idling",
		b.paid, b.launches, float64(b.paid-b.idle)/float64(b.perfect), b.perfect, b.idle)
	if b.paid > b.perfect*6/5+b.idle {
		t.Errorf("%v of machine time, where a perfect packing needs %v and %v for booting and idling", b.paid, b.perfect, b.idle)
	}
}

// TestPastFailures runs the seeds that once found a bug: each is a file in testdata/seeds that says which.
func TestPastFailures(t *testing.T) {
	files, err := os.ReadDir("testdata/seeds")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		seed, err := strconv.ParseUint(f.Name(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // the interleaving is not quite the seed's
			o := run(t, seed)
			o.fail(t, o.plan)
		}
	}
}

// TestSameSeed reports how far a seed decides a run: see the package's documentation. What it decides entirely, the
// plan, must be the same.
func TestSameSeed(t *testing.T) {
	same := 0
	const seeds, times = 5, 3
	for seed := range uint64(seeds) {
		hashes := make(map[uint64]bool)
		plans := make(map[string]bool)
		for range times {
			o := run(t, 1000+seed)
			o.fail(t, o.plan)
			hashes[o.hash], plans[o.plan.String()] = true, true
		}
		if len(hashes) == 1 {
			same++
		}
		if len(plans) != 1 {
			t.Errorf("seed %d gave %d plans", 1000+seed, len(plans))
		}
	}
	t.Logf("%d of %d seeds gave the same story, with the same times, %d times", same, seeds, times)
}
