package pool

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
	"pgregory.net/rapid"
)

var allOutlooks = []Outlook{"", "", "", "", OutlookRebalance, OutlookImpaired, OutlookRetiring, OutlookInterrupted}

var allStates = []store.InstanceState{launching, booting, ready, cordoned, terminating, lost}

// drawConfig draws a configuration of a small pool.
func drawConfig(t *rapid.T) Config {
	most := rapid.IntRange(1, 6).Draw(t, "MaxInstances")
	return testConfig(func(c *Config) {
		c.MaxInstances = most
		c.MinInstances = rapid.IntRange(0, most).Draw(t, "MinInstances")
		c.SlotsPerInstance = rapid.IntRange(1, 12).Draw(t, "SlotsPerInstance")
		c.SpareSlots = rapid.IntRange(0, 20).Draw(t, "SpareSlots")
	})
}

// drawSnapshot draws a state of a pool, also states that should never occur.
func drawSnapshot(t *rapid.T, cfg Config) snapshot {
	age := rapid.SampledFrom([]time.Duration{0, time.Second, 5 * time.Minute, time.Hour})
	facts := []given{
		demand(rapid.IntRange(0, 40).Draw(t, "demand")),
		failures(rapid.IntRange(0, 3).Draw(t, "failures"), rapid.SampledFrom([]time.Duration{-time.Hour, time.Minute}).Draw(t, "pause")),
		func(s *snapshot) {
			s.listed = rapid.Bool().Draw(t, "listed")
			s.refused = rapid.IntRange(0, 9).Draw(t, "refused") == 0
			s.tokens = rapid.SampledFrom([]int{0, 1, 3, 1000}).Draw(t, "tokens")
			s.generation = rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "generation")
			s.pool.Closed = rapid.IntRange(0, 9).Draw(t, "closed") == 0
			s.pool.Draining = s.pool.Closed && rapid.Bool().Draw(t, "draining")
		},
	}
	for i := range rapid.IntRange(0, 8).Draw(t, "instances") {
		facts = append(facts, instance(fmt.Sprint("i", i), rapid.SampledFrom(allStates).Draw(t, "state"),
			idleFor(age.Draw(t, "idle")), seenFor(age.Draw(t, "seen")),
			func(s *snapshot, in *store.Instance, obs *observation) {
				in.Slots = cfg.SlotsPerInstance
				in.Drain = rapid.IntRange(0, 5).Draw(t, "drain") == 0
				in.Terminated = rapid.Bool().Draw(t, "terminated")
				if in.State == ready || in.State == cordoned && in.Drain || in.State == lost {
					in.Sessions = rapid.IntRange(0, in.Slots).Draw(t, "sessions")
				}
				if in.State == launching {
					asked(s, in, obs)
				}
				obs.healthy = rapid.Bool().Draw(t, "healthy")
				obs.strikes = rapid.SampledFrom([]int{0, 0, 0, 5}).Draw(t, "strikes")
				in.Generation = rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "version")
				in.CreatedAt = t0.Add(-rapid.SampledFrom([]time.Duration{0, time.Hour, time.Hour, 6 * day, 8 * day}).Draw(t, "age"))
				in.Outlook = string(rapid.SampledFrom(allOutlooks).Draw(t, "stored outlook"))
				notices(rapid.SampledFrom(allOutlooks).Draw(t, "notice"))(s, in, obs)
				foresees(rapid.SampledFrom(allOutlooks).Draw(t, "outlook"))(s, in, obs)
				obs.busy = rapid.IntRange(0, 3).Draw(t, "busy") == 0
				machine(rapid.SampledFrom([]MachineState{
					"", MachinePending, MachineRunning, MachineRunning, MachineRunning, MachineStopped, MachineEnding, MachineEnded,
				}).Draw(t, "machine"))(s, in, obs)
			}))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "unknown") {
		facts = append(facts, unknownMachine(fmt.Sprint("x", i), age.Draw(t, "known")))
	}
	return snapshotOf(facts...)
}

// TestPlanIsSafe checks that no plan, in any state, does what a plan must not do.
func TestPlanIsSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		s := drawSnapshot(t, cfg)
		acts := plan(s, cfg, t0)

		checkActions(t, s, acts)
		count := func(match func(a action) bool) (n int) {
			for _, a := range acts {
				if match(a) {
					n++
				}
			}
			return n
		}
		launches := count(func(a action) bool { return a.verb == doLaunch })
		repeats := count(func(a action) bool { return a.verb == doRepeat })
		renewals := count(func(a action) bool { return a.verb == doDrain && a.outlook == "" })
		if all := len(s.instances) + len(s.unknown) + launches; launches > 0 && all > cfg.MaxInstances {
			t.Errorf("%d launches make %d instances, of at most %d", launches, all, cfg.MaxInstances)
		}
		if launches+repeats > s.tokens {
			t.Errorf("%d launches and %d repeated ones, with %d tokens", launches, repeats, s.tokens)
		}
		if renewals > max(1, len(s.instances)/10) || renewals > 0 && launchesFail(s, t0) {
			t.Errorf("it renews %d of %d instances after %d failed launches", renewals, len(s.instances), s.pool.LaunchFailures)
		}
		if s.refused && slices.ContainsFunc(acts, func(a action) bool {
			return slices.Contains([]verb{doLaunch, doRepeat, doTerminate, doEndUnknown}, a.verb)
		}) {
			t.Errorf("it calls a cloud that refuses its credentials: %q", text(acts))
		}
		if launches > 0 && s.pool.Closed {
			t.Error("it launches for a closed pool")
		}
	})
}

// checkActions checks the actions on single instances.
func checkActions(t *rapid.T, s snapshot, acts []action) {
	records := make(map[string]*store.Instance)
	for _, in := range s.instances {
		records[in.ID] = in
	}
	steps := make(map[string]int)
	for _, a := range acts {
		in, obs := records[a.instance], s.seen[a.instance]
		switch a.verb {
		case doLaunch, doEndUnknown:
			continue
		case doCordon:
			if in.Sessions > 0 && !in.Drain && a.outlook != OutlookRebalance {
				t.Errorf("it cordons %s, which has sessions", in.ID)
			}
		case doRetire, doTerminate, doForget:
			if in.Sessions > 0 {
				t.Errorf("it ends %s, which has sessions: %s", in.ID, a.verb)
			}
		case doUncordon:
			if in.Drain || in.State != cordoned {
				t.Errorf("it takes %s back, which is %s", in.ID, in.State)
			}
		}
		if a.verb == doTerminate && in.State != terminating && in.State != lost {
			t.Errorf("it terminates %s, which is %s", in.ID, in.State)
		}
		if steps[in.ID]++; steps[in.ID] > 1 {
			t.Errorf("it takes two steps for %s", in.ID)
		}
		if obs.waits(t0) {
			t.Errorf("it does not wait for what is under way for %s", in.ID)
		}
	}
}

// TestPlanIsDeterministic plans twice, with the instances in another order.
func TestPlanIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		s := drawSnapshot(t, cfg)
		before := text(plan(s, cfg, t0))
		s.instances = rapid.Permutation(s.instances).Draw(t, "order")
		order := slices.Clone(s.instances)
		if after := text(plan(s, cfg, t0)); after != before {
			t.Errorf("first %q, then %q", before, after)
		}
		if !slices.Equal(order, s.instances) {
			t.Error("it changed its snapshot")
		}
	})
}
