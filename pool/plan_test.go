package pool

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

// t0 is the now of every plan here.
var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// given makes one fact true of a snapshot.
type given func(*snapshot)

// instance adds an instance whose machine runs, is listed and was seen a minute ago for the first time.
func instance(id string, state store.InstanceState, facts ...func(s *snapshot, in *store.Instance, g *sight)) given {
	return func(s *snapshot) {
		in := &store.Instance{
			ID: id, State: state, CloudID: "i-" + id, Address: "tcp://" + id, Frozen: []byte("f"), Slots: 10,
			CreatedAt: t0.Add(-time.Hour), Since: t0.Add(-time.Minute), IdleSince: t0,
		}
		g := sight{
			known: t0.Add(-time.Minute), state: state, since: t0.Add(-time.Minute), listed: true, probed: in.Address,
		}
		s.machines[id] = Machine{LaunchID: id, CloudID: in.CloudID, Address: in.Address, State: MachineRunning}
		for _, fact := range facts {
			fact(s, in, &g)
		}
		s.instances = append(s.instances, in)
		s.seen[id] = g
	}
}

type fact = func(s *snapshot, in *store.Instance, g *sight)

func sessions(n int) fact { return func(_ *snapshot, in *store.Instance, _ *sight) { in.Sessions = n } }

func idleFor(d time.Duration) fact {
	return func(_ *snapshot, in *store.Instance, _ *sight) { in.IdleSince = t0.Add(-d) }
}

// machine changes what the cloud lists; "" = it does not list it.
func machine(state MachineState) fact {
	return func(s *snapshot, in *store.Instance, _ *sight) {
		m := s.machines[in.ID]
		m.State = state
		if s.machines[in.ID] = m; state == "" {
			delete(s.machines, in.ID)
		}
	}
}

// missingFor says that the cloud does not list it, and did not before.
func missingFor(d time.Duration) fact {
	return func(s *snapshot, in *store.Instance, g *sight) {
		delete(s.machines, in.ID)
		g.missing = s.listedAt.Add(-d)
	}
}

func neverListed(s *snapshot, in *store.Instance, g *sight) {
	missingFor(0)(s, in, g)
	g.listed, in.CreatedAt = false, t0.Add(-time.Minute)
}

func moved(s *snapshot, in *store.Instance, _ *sight) { in.Address = "tcp://old" }

// asked says that nothing is known but that the cloud was asked; unasked, that it was not.
func asked(s *snapshot, in *store.Instance, g *sight) {
	neverListed(s, in, g)
	in.CloudID, in.Address = "", ""
}

func unasked(s *snapshot, in *store.Instance, g *sight) {
	asked(s, in, g)
	in.Frozen = nil
}

func terminated(_ *snapshot, in *store.Instance, _ *sight) { in.Terminated = true }
func agreed(_ *snapshot, _ *store.Instance, g *sight)      { g.asked = t0.Add(time.Second) }
func drained(_ *snapshot, in *store.Instance, _ *sight)    { in.Drain = true }
func healthy(_ *snapshot, _ *store.Instance, g *sight)     { g.healthy = true }
func busy(_ *snapshot, _ *store.Instance, g *sight)        { g.busy = true }

func seenFor(d time.Duration) fact {
	return func(_ *snapshot, _ *store.Instance, g *sight) { g.known, g.since = t0.Add(-d), t0.Add(-d) }
}

func neededBefore(d time.Duration) fact {
	return func(_ *snapshot, _ *store.Instance, g *sight) { g.needed = t0.Add(-d) }
}

// foresees says what the cloud foretells of it; notices, what its host does.
func foresees(o Outlook) fact {
	return func(s *snapshot, in *store.Instance, g *sight) {
		m := s.machines[in.ID]
		m.Outlook = o
		s.machines[in.ID] = m
		if o == OutlookImpaired {
			g.impaired = t0.Add(-impairedGrace)
		}
	}
}

func notices(o Outlook) fact { return func(_ *snapshot, _ *store.Instance, g *sight) { g.notice = o } }

func outlook(o Outlook) fact {
	return func(_ *snapshot, in *store.Instance, _ *sight) { in.Outlook = string(o) }
}

func version(name string) fact {
	return func(_ *snapshot, in *store.Instance, _ *sight) { in.Generation = name }
}

func old(d time.Duration) fact {
	return func(_ *snapshot, in *store.Instance, _ *sight) { in.CreatedAt = t0.Add(-d) }
}

// lasting says for how long it has been in its state.
func lasting(d time.Duration) fact {
	return func(_ *snapshot, in *store.Instance, _ *sight) { in.Since = t0.Add(-d) }
}

func strikes(n int) fact { return func(_ *snapshot, _ *store.Instance, g *sight) { g.strikes = n } }

func failedBefore(pause time.Duration) fact {
	return func(_ *snapshot, _ *store.Instance, g *sight) { g.after = t0.Add(pause) }
}

func demand(n int) given { return func(s *snapshot) { s.demand = n } }

func draining(s *snapshot) { s.pool.Closed, s.pool.Draining = true, true }
func closed(s *snapshot)   { s.pool.Closed = true }
func unlisted(s *snapshot) { s.listed = false }
func frozen(s *snapshot)   { s.frozen = true }

func generation(name string) given { return func(s *snapshot) { s.generation = name } }
func tokens(n int) given           { return func(s *snapshot) { s.tokens = n } }

// each adds instances that are alike.
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

func stranger(id string, known time.Duration) given {
	return func(s *snapshot) { s.strangers[id] = sight{known: t0.Add(-known)} }
}

func snapshotOf(facts ...given) snapshot {
	s := snapshot{
		machines: map[string]Machine{}, listed: true, listedAt: t0, tokens: 1000, seen: map[string]sight{}, strangers: map[string]sight{},
	}
	for _, g := range facts {
		g(&s)
	}
	return s
}

// row is one case of a table test of plan. Its rule says why.
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
		if a.verb == doTerminate || a.verb == doEndStranger || a.verb == doAdopt {
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
