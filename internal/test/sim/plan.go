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
	clocks       trouble = "the replicas' wall clocks differ, and some are set"
	flaky        trouble = "a remote fails for a moment"
	refusedAlive trouble = "a launch is refused and has its effect"
	lacking      trouble = "the memory of a container is used up"
	roomless     trouble = "the engine of an instance refuses the warden for a while"
	refusing     trouble = "a remote refuses everybody for a while"
	silent       trouble = "a remote answers nobody for a while"
	littered     trouble = "a process leaves a helper container and a volume on an instance"
	operated     trouble = "an operator cordons an instance for a while, or drains it"
	unruly       trouble = "a function of the host panics, does not return or fails, now and then"
)

var troubles = []trouble{
	failBefore, failAfter, slow, hang, storeFails, storeUnknown, storeCut, crash, closing, killed, removed, vanished,
	unreachable, noCapacity, storeSlow, paused, ignored, advised, clocks, flaky, refusedAlive, littered, lacking, roomless, refusing, silent,
	unruly, operated,
}

// oldTroubles is how many of them are drawn together. Each of the later ones is drawn by itself, so that the
// old seeds are as they were.
const oldTroubles = 14

// stale reports whether a replica may act on an old view of the store.
func (p plan) stale() bool { return p.armed[storeCut] || p.armed[storeSlow] || p.armed[paused] }

// pauses reports whether a replica may be paused.
func (p plan) pauses() bool { return p.armed[paused] || p.strike.blow == pausedLong }

// plan is the run of a seed.
type plan struct {
	dice     dice
	replicas int
	tasks    int
	repos    int
	config   berth.Config
	armed    map[trouble]bool
	strike   strike        // the only fault of a run of the sweep
	dropped  []string      // kinds of faults and tasks that are left out
	p        float64       // the probability of a fault of an armed call
	arrivals time.Duration // the time in which the tasks come
	median   time.Duration // the median of their lifetimes
	silent   bool          // no host asks for warmth: the planner alone decides
	revokes  bool          // users lose what they have on a repository, now and then

	prepare preparing
	keeps   bool // there is a Config.Snapshots

	authorizes, teams, walled bool // the host has a Config.Authorize, Sharing.Key, EgressFor
	onEnd                     bool // and a Config.OnEnd
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
		Env:          map[string]string{"TOKEN_OF_ALL": secret},
	}
	if d.chance(0.3, "impatient") {
		p.config.QueueTimeout = 2 * time.Minute
	}
	p.drawUsers()
	p.drawHost()
	p.drawWarmth()
	p.drawPrepare()
	p.drawKept()
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
	p.config.RequireIsolation = p.armed[roomless] && d.chance(0.5, "rooms are required")
	return p
}

// without returns the same plan without a kind of faults, or without a task.
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

// site reports whether faults of a kind are armed at a site. They are armed at a quarter of the sites.
func (p plan) site(t trouble, place string) bool {
	return p.armed[t] && p.dice.chance(0.25, "site", string(t), place)
}

// spelling returns one of the ways to write the remote of a repository.
func (p plan) spelling(repo int, purpose ...string) string {
	forms := []string{
		"https://github.com/acme/repo-%d", "https://github.com/Acme/Repo-%d.git", "git@github.com:acme/repo-%d.git",
		"ssh://git@github.com/acme/repo-%d", "https://planted:" + secret + "@github.com/acme/repo-%d/",
	}
	return fmt.Sprintf(forms[p.dice.between(0, len(forms)-1, purpose...)], repo)
}

// secret is in credentials and environments, and must appear in no record, log, event, error or name.
const secret = "s3cr3t-token"
