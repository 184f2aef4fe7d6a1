package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

// The sweep is systematic where the seeds are random: one small load is run again and again, each time with exactly one
// fault, at each of its calls in turn.

// blow is what the one fault does to its call.
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

// readsOnly are the calls that change nothing: for them, after is as before.
var readsOnly = map[string]bool{
	"view": true, string(fake.Prepare): true, string(fake.ListMachines): true, string(fake.Probe): true,
	string(fake.List): true, string(fake.Sessions): true,
}

// site is a call, the same in every run: who calls what, for the how manieth time.
type site struct {
	at   string
	sort string // of call: its verb, and for a transaction the records that it names
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

// strike is one fault. The zero strike is none.
type strike struct {
	site
	blow blow
	any  bool // any call of the site's sort will do
}

// strikes returns faults at sites: all of them, or, of each blow to each sort of call, at most so many, evenly spread. The
// first ones are of every blow to every sort.
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
				take = 8 * most // it depends on what the others do meanwhile, which is different each time
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

// visit notes a site, and returns the blow that is to strike it.
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

// mayStrike reports whether the one fault is still to come.
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
