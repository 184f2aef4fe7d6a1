package pool

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

// t0 is the time of every plan in these tests.
var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// given makes one fact true of a snapshot.
type given func(*snapshot)

// instance adds an instance whose machine runs, is listed and was first observed a minute ago.
func instance(id string, state store.InstanceState, facts ...func(s *snapshot, in *store.Instance, obs *observation)) given {
	return func(s *snapshot) {
		in := &store.Instance{
			ID: id, State: state, CloudID: "i-" + id, Address: "tcp://" + id, Frozen: []byte("f"), Slots: 10,
			CreatedAt: t0.Add(-time.Hour), Since: t0.Add(-time.Minute), IdleSince: t0,
		}
		obs := observation{
			known: t0.Add(-time.Minute), state: state, since: t0.Add(-time.Minute), listed: true, probed: in.Address,
		}
		s.machines[id] = Machine{LaunchID: id, CloudID: in.CloudID, Address: in.Address, State: MachineRunning}
		for _, fact := range facts {
			fact(s, in, &obs)
		}
		s.instances = append(s.instances, in)
		s.seen[id] = obs
	}
}

type fact = func(s *snapshot, in *store.Instance, obs *observation)

func sessions(n int) fact {
	return func(_ *snapshot, in *store.Instance, _ *observation) { in.Sessions = n }
}

func idleFor(d time.Duration) fact {
	return func(_ *snapshot, in *store.Instance, _ *observation) { in.IdleSince = t0.Add(-d) }
}

// machine changes the state in which the cloud lists the machine; "" = it does not list it.
func machine(state MachineState) fact {
	return func(s *snapshot, in *store.Instance, _ *observation) {
		m := s.machines[in.ID]
		m.State = state
		if s.machines[in.ID] = m; state == "" {
			delete(s.machines, in.ID)
		}
	}
}

// missingFor says that the cloud has not listed the machine for a time.
func missingFor(d time.Duration) fact {
	return func(s *snapshot, in *store.Instance, obs *observation) {
		delete(s.machines, in.ID)
		obs.missing = s.listedAt.Add(-d)
	}
}

func neverListed(s *snapshot, in *store.Instance, obs *observation) {
	missingFor(0)(s, in, obs)
	obs.listed, in.CreatedAt = false, t0.Add(-time.Minute)
}

func moved(s *snapshot, in *store.Instance, _ *observation) { in.Address = "tcp://old" }

// asked says that the cloud was asked for a machine and nothing more is known; unasked, that it was not asked.
func asked(s *snapshot, in *store.Instance, obs *observation) {
	neverListed(s, in, obs)
	in.CloudID, in.Address = "", ""
}

func unasked(s *snapshot, in *store.Instance, obs *observation) {
	asked(s, in, obs)
	in.Frozen = nil
}

func terminated(_ *snapshot, in *store.Instance, _ *observation) { in.Terminated = true }
func agreed(_ *snapshot, _ *store.Instance, obs *observation)    { obs.asked = t0.Add(time.Second) }
func drained(_ *snapshot, in *store.Instance, _ *observation)    { in.Drain = true }
func operator(_ *snapshot, in *store.Instance, _ *observation)   { in.Wish = store.WishCordon }
func healthy(_ *snapshot, _ *store.Instance, obs *observation)   { obs.healthy = true }
func busy(_ *snapshot, _ *store.Instance, obs *observation)      { obs.busy = true }

func seenFor(d time.Duration) fact {
	return func(_ *snapshot, _ *store.Instance, obs *observation) { obs.known, obs.since = t0.Add(-d), t0.Add(-d) }
}

func neededBefore(d time.Duration) fact {
	return func(_ *snapshot, _ *store.Instance, obs *observation) { obs.needed = t0.Add(-d) }
}

// foresees sets the outlook in the cloud's list; notices, that of the host.
func foresees(o Outlook) fact {
	return func(s *snapshot, in *store.Instance, obs *observation) {
		m := s.machines[in.ID]
		m.Outlook = o
		s.machines[in.ID] = m
		if o == OutlookImpaired {
			obs.impaired = t0.Add(-impairedGrace)
		}
	}
}

func notices(o Outlook) fact {
	return func(_ *snapshot, _ *store.Instance, obs *observation) { obs.notice = o }
}

func outlook(o Outlook) fact {
	return func(_ *snapshot, in *store.Instance, _ *observation) { in.Outlook = string(o) }
}

func version(name string) fact {
	return func(_ *snapshot, in *store.Instance, _ *observation) { in.Generation = name }
}

func old(d time.Duration) fact {
	return func(_ *snapshot, in *store.Instance, _ *observation) { in.CreatedAt = t0.Add(-d) }
}

// lasting says how long it has been in its state.
func lasting(d time.Duration) fact {
	return func(_ *snapshot, in *store.Instance, _ *observation) { in.Since = t0.Add(-d) }
}

func strikes(n int) fact {
	return func(_ *snapshot, _ *store.Instance, obs *observation) { obs.strikes = n }
}

func failedBefore(pause time.Duration) fact {
	return func(_ *snapshot, _ *store.Instance, obs *observation) { obs.after = t0.Add(pause) }
}

func demand(n int) given { return func(s *snapshot) { s.demand = n } }

func draining(s *snapshot) { s.pool.Closed, s.pool.Draining = true, true }
func closed(s *snapshot)   { s.pool.Closed = true }
func unlisted(s *snapshot) { s.listed = false }
func refused(s *snapshot)  { s.refused = true }

func generation(name string) given { return func(s *snapshot) { s.generation = name } }
func tokens(n int) given           { return func(s *snapshot) { s.tokens = n } }

// each adds several instances with the same facts.
func each(ids string, state store.InstanceState, facts ...fact) given {
	return func(s *snapshot) {
		for _, id := range strings.Fields(ids) {
			instance(id, state, facts...)(s)
		}
	}
}

func failures(n int, pause time.Duration) given {
	return func(s *snapshot) { s.pool.LaunchFailures, s.pool.LaunchAfter = n, t0.Add(pause) }
}

func unknownMachine(id string, known time.Duration) given {
	return func(s *snapshot) { s.unknown[id] = observation{known: t0.Add(-known)} }
}

func snapshotOf(facts ...given) snapshot {
	s := snapshot{
		machines: map[string]Machine{}, listed: true, listedAt: t0, tokens: 1000, seen: map[string]observation{}, unknown: map[string]observation{},
	}
	for _, obs := range facts {
		obs(&s)
	}
	return s
}

// row is one case of a table test of plan. rule says why.
type row struct {
	rule   string
	given  []given
	config func(*Config)
	want   string // the actions, with reasons left out
}

func testConfig(change func(*Config)) Config {
	cfg := Config{Name: "p", InstanceType: "t", MaxInstances: 4, SlotsPerInstance: 10}
	if change != nil {
		change(&cfg)
	}
	return cfg.withDefaults()
}

func testPlan(t *testing.T, rows []row) {
	for _, r := range rows {
		t.Run(r.rule, func(t *testing.T) {
			if got := text(plan(snapshotOf(r.given...), testConfig(r.config), t0)); got != r.want {
				t.Errorf("the plan is %q, want %q", got, r.want)
			}
		})
	}
}

// text writes actions as "retire a (failed); launch".
func text(acts []action) string {
	words := make([]string, len(acts))
	for i, a := range acts {
		words[i] = strings.TrimSpace(fmt.Sprintf("%s %s", a.verb, a.instance))
		if a.verb == doTerminate || a.verb == doEndUnknown || a.verb == doAdopt {
			words[i] = strings.TrimSpace(words[i] + " " + a.cloudID)
		}
		if a.verb == doLocate {
			words[i] += " at " + a.address
		}
		if a.failed {
			words[i] += " (failed)"
		}
	}
	return strings.Join(words, "; ")
}
