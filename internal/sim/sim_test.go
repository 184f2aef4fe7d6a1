package sim

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/internal/testenv"
)

// outcome is what came of a run.
type outcome struct {
	plan   plan
	faults []string
	counts map[string]int
	hash   uint64
	story  string
	log    string
}

// run is one seed, from the first task to the pool's end.
func run(t *testing.T, seed uint64) (o outcome) {
	t.Run(fmt.Sprint(seed), func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, seed)
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed)
			ctx, cancel := context.WithCancel(w.ctx)
			var chaos = make(chan struct{})
			go func() { defer close(chaos); w.chaos(ctx) }()
			w.load()
			cancel()
			<-chaos
			w.actors.Wait()
			w.settle()
			w.works()
			w.destroy()
			o = outcome{w.plan, w.rules.faults, w.trace.counts(), w.trace.hash(), w.trace.tail(400), w.trace.log.String()}
		})
	})
	return o
}

// fail prints what is needed to see a failure again.
func (o outcome) fail(t *testing.T, seed uint64) {
	t.Helper()
	if len(o.faults) == 0 {
		return
	}
	t.Errorf("seed %d: %s\n%s\nSIM_SEED=%d go test ./internal/sim -run TestReplay -v", seed, o.plan, o.faults, seed)
}

// rare is what must happen in some of the runs, or they test too little.
var rare = []string{
	"created", "start attached", "start warm", "start cold", "session queued", "a caller gave up",
	"a creation failed", "terminated while it is created", "asked again after a crash", "container lost",
	string(failBefore), string(failAfter), string(slow), string(hang), string(storeFails), string(storeUnknown),
	string(storeCut), string(crash), string(closing), string(killed), string(removed), string(vanished),
	string(unreachable), string(noCapacity),
}

func TestSeeds(t *testing.T) {
	deadline := time.Now().Add(20 * time.Second)
	most := uint64(200)
	if testenv.Soak() {
		deadline, most = time.Now().Add(20*time.Minute), 1<<40
	}
	total := make(map[string]int)
	first, _ := strconv.ParseUint(os.Getenv("SIM_FROM"), 10, 64)
	seed := first
	for seed < first+most && time.Now().Before(deadline) && !t.Failed() {
		seed++
		o := run(t, seed)
		o.fail(t, seed)
		for what, n := range o.counts {
			total[what] += n
		}
	}
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
			o.fail(t, seed)
		}
	}
}

// TestReplay runs the seed of SIM_SEED, as often as SIM_TIMES says, and tells its story.
func TestReplay(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("SIM_SEED"), 10, 64)
	if err != nil {
		t.Skip("set SIM_SEED to the number of a seed")
	}
	times, _ := strconv.Atoi(os.Getenv("SIM_TIMES"))
	for range max(times, 1) {
		o := run(t, seed)
		if o.fail(t, seed); len(o.faults) > 0 || times <= 1 {
			t.Logf("%s\n%s\n%s", o.plan, o.story, o.log)
			return
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
			o.fail(t, 1000+seed)
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
