package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth"
)

// trouble is a kind of fault.
type trouble string

// The kinds of faults.
const (
	failBefore   trouble = "a call fails before its effect"
	failAfter    trouble = "a call fails after its effect"
	slow         trouble = "a call takes long"
	hang         trouble = "a call hangs"
	storeFails   trouble = "the store fails"
	storeUnknown trouble = "the store does not say what became of a commit"
	storeCut     trouble = "a replica cannot reach the store for a while"
	crash        trouble = "a replica crashes"
	closing      trouble = "a replica is closed"
	killed       trouble = "a container is killed"
	removed      trouble = "a container is removed"
	vanished     trouble = "an instance vanishes"
	unreachable  trouble = "an instance cannot be reached for a while"
	noCapacity   trouble = "the cloud has no capacity for a while"
	storeSlow    trouble = "the store takes long"
	paused       trouble = "a replica is paused for longer than its lease"
	ignored      trouble = "a termination has no effect"
	advised      trouble = "the cloud advises to leave an instance, for a while"
)

var troubles = []trouble{
	failBefore, failAfter, slow, hang, storeFails, storeUnknown, storeCut, crash, closing, killed, removed, vanished,
	unreachable, noCapacity, storeSlow, paused, ignored, advised,
}

// oldTroubles is how many of them are drawn together. Those that were added later are drawn each by itself, so that the
// old seeds are as they were.
const oldTroubles = 14

// stale reports whether a replica may act on a look at the store that is long over.
func (p plan) stale() bool { return p.armed[storeCut] || p.armed[storeSlow] || p.armed[paused] }

// pauses reports whether a replica may be paused.
func (p plan) pauses() bool { return p.armed[paused] || p.strike.blow == pausedLong }

// plan is what a seed makes of a run.
type plan struct {
	dice     dice
	replicas int
	tasks    int
	repos    int
	config   berth.Config
	armed    map[trouble]bool
	strike   strike        // the one fault of a run of the sweep
	dropped  []string      // kinds of faults and tasks that are left out
	p        float64       // with which an armed call goes wrong
	arrivals time.Duration // the time in which the tasks come
	median   time.Duration // of their lifetimes
}

func newPlan(seed uint64) plan {
	d := dice(seed)
	p := plan{
		dice: d, replicas: d.between(1, 3, "replicas"), tasks: d.between(5, 40, "tasks"), repos: d.between(1, 8, "repos"),
		armed: make(map[trouble]bool), p: []float64{0.01, 0.05, 0.25}[d.between(0, 2, "p")],
		arrivals: time.Duration(d.between(1, 5, "arrivals")) * time.Minute,
		median:   time.Duration(1+29*d.between(0, 1, "median")) * time.Second,
	}
	most := d.between(1, 6, "instances")
	p.config = berth.Config{
		MaxInstances: most, MinInstances: d.between(0, 1, "least"), MaxTasksPerInstance: d.between(1, 8, "slots"),
		SpareSlots: d.between(0, 2, "spare") / 2, MaxContainersPerRepository: d.between(1, 4, "containers")/4 + 1,
		InstanceIdleTimeout: time.Minute, SessionIdleTimeout: 3 * time.Minute, SessionRetention: 2 * time.Minute,
		MirrorBudget: int64(d.between(2, 10, "mirrors")) << 20,
	}
	if d.chance(0.3, "impatient") {
		p.config.QueueTimeout = 2 * time.Minute
	}
	if d.chance(0.1, "no trouble") {
		return p
	}
	for i := range d.between(1, 4, "kinds") {
		p.armed[troubles[d.between(0, oldTroubles-1, "kind", fmt.Sprint(i))]] = true
	}
	for _, t := range troubles[oldTroubles:] {
		if d.chance(0.2, string(t)) {
			p.armed[t] = true
		}
	}
	return p
}

// without is the same plan without a kind of faults, or without a task.
func (p plan) without(part string) plan {
	p.armed = maps.Clone(p.armed)
	delete(p.armed, trouble(part))
	p.dropped = append(slices.Clip(p.dropped), part)
	return p
}

func (p plan) drops(part string) bool { return slices.Contains(p.dropped, part) }

func taskName(i int) string { return fmt.Sprintf("task-%d", i) }

func (p plan) String() string {
	var armed []string
	for _, t := range troubles {
		if p.armed[t] {
			armed = append(armed, string(t))
		}
	}
	return fmt.Sprintf("%d replicas, %d tasks on %d repositories, at most %d instances of %d slots; %s (p=%v)",
		p.replicas, p.tasks, p.repos, p.config.MaxInstances, p.config.MaxTasksPerInstance, strings.Join(armed, ", "), p.p)
}

// site reports whether faults of a kind are armed at a place: at a quarter of them.
func (p plan) site(t trouble, place string) bool {
	return p.armed[t] && p.dice.chance(0.25, "site", string(t), place)
}

// spelling is one way to write the remote of a repository.
func (p plan) spelling(repo int, purpose ...string) string {
	forms := []string{
		"https://github.com/acme/repo-%d", "https://github.com/Acme/Repo-%d.git", "git@github.com:acme/repo-%d.git",
		"ssh://git@github.com/acme/repo-%d", "https://planted:" + secret + "@github.com/acme/repo-%d/",
	}
	return fmt.Sprintf(forms[p.dice.between(0, len(forms)-1, purpose...)], repo)
}

// secret must come out nowhere.
const secret = "s3cr3t-token"
