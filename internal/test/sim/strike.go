package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

// Seeds are random, and the sweep is systematic: it repeats one small load, each time with exactly one fault, at each
// of its calls in turn.

// blow is the effect of the fault on its call.
type blow string

// The blows.
const (
	before         blow = "fails before its effect"
	after          blow = "fails after its effect"
	crashBefore    blow = "crashes before its effect"
	crashAfter     blow = "crashes after its effect"
	unknown        blow = "has no effect, and does not say so"
	killsMeanwhile blow = "takes long, and all containers are killed meanwhile"
	pausedLong     blow = "begins a pause that is longer than the lease"
)

// readsOnly are the calls that change nothing. For them, a blow after the call is the same as one before.
var readsOnly = map[string]bool{
	"view": true, string(fake.Prepare): true, string(fake.ListMachines): true, string(fake.Probe): true,
	string(fake.List): true, string(fake.Sessions): true, string(fake.Deliver): true,
}

// site identifies a call in every run: the caller, the call, and how many times the caller has made it.
type site struct {
	at   string
	sort string // the verb of the call, and for a transaction the records that it names
}

func (s site) blows() []blow {
	if readsOnly[s.sort] {
		return []blow{before, crashBefore}
	}
	blows := []blow{before, after, crashBefore, crashAfter}
	if strings.HasPrefix(s.sort, "update") {
		blows = append(blows, unknown, pausedLong)
	}
	if strings.HasPrefix(s.sort, "update session") || strings.HasPrefix(s.sort, "update container") {
		blows = append(blows, killsMeanwhile)
	}
	return blows
}

// strike is one fault. The zero strike is no fault.
type strike struct {
	site
	blow blow
	any  bool // any call of the site's sort may be struck
}

// strikes returns faults at sites: all of them, or for each blow to each sort of call at most a number, evenly spread.
// The first ones have every blow to every sort.
func strikes(sites []site, most int) []strike {
	var rounds [][]strike
	type kind struct {
		sort string
		blow blow
	}
	count, nth := make(map[kind]int), make(map[kind]int)
	for _, s := range sites {
		for _, b := range s.blows() {
			count[kind{s.sort, b}]++
		}
	}
	for _, s := range sites {
		for _, b := range s.blows() {
			k := kind{s.sort, b}
			n, i := count[k], nth[k]
			nth[k]++
			take := most
			if b == pausedLong && s.sort == "update session" {
				take = 8 * most // it depends on what the others do meanwhile, and that differs each time
			}
			take = min(n, take)
			round := i * take / n
			if round == (i+1)*take/n {
				continue
			}
			if round == len(rounds) {
				rounds = append(rounds, nil)
			}
			rounds[round] = append(rounds[round], strike{site: s, blow: b})
		}
	}
	return slices.Concat(rounds...)
}

func (s strike) String() string { return fmt.Sprintf("%s: %s", s.at, s.blow) }

// visit records a site, and returns the blow that strikes it.
func (m *meddler) visit(at, sort string) blow {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.plan.strike.blow == "" {
		m.sites = append(m.sites, site{at, sort})
		return ""
	}
	if hits := at == m.plan.strike.at || m.plan.strike.any && sort == m.plan.strike.sort; m.struck || !hits {
		return ""
	}
	m.struck = true
	return m.plan.strike.blow
}

// mayStrike reports whether the fault is still to come.
func (m *meddler) mayStrike() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.plan.strike.blow != "" && !m.struck
}

// sweepPlan is the small load of the sweep: two replicas, three tasks.
func sweepPlan(seed uint64) plan {
	d := dice(seed)
	return plan{
		dice: d, replicas: 2, tasks: 3, repos: 2, arrivals: 3 * time.Second, median: 3 * time.Second,
		config: berth.Config{
			MaxInstances: 2, MaxTasksPerInstance: 2, MaxContainersPerRepository: 1,
			InstanceIdleTimeout: 10 * time.Second, SessionIdleTimeout: 20 * time.Second, SessionRetention: 20 * time.Second,
			MirrorBudget: 3 << 20,
		},
	}
}
