package pool

import (
	"fmt"
	"testing"
	"time"
)

const day = 24 * time.Hour

func TestPlanOfAge(t *testing.T) {
	min := func(c *Config) { c.MinInstances = 1 }
	full := func(c *Config) { c.MinInstances, c.MaxInstances = 1, 1 }
	testPlan(t, []row{
		{rule: "an old instance is drained", want: "drain a", given: []given{instance("a", ready, old(7*day), sessions(3))}},
		{rule: "not a young one", given: []given{instance("a", ready, old(5*day), sessions(3))}},
		{rule: "never if it is configured so", config: func(c *Config) { c.MaxAge = -1 },
			given: []given{instance("a", ready, old(1000*day), sessions(3))}},
		{rule: "one from the future is not old", given: []given{instance("a", ready, old(-day), sessions(1))}},
		{rule: "one that is needed is replaced first", config: min, want: "launch",
			given: []given{instance("a", ready, old(7*day), sessions(3))}},
		{rule: "which takes as long as it takes", config: min,
			given: []given{instance("a", ready, old(7*day), sessions(3)), instance("b", booting)}},
		{rule: "then it is drained", config: min, want: "drain a",
			given: []given{instance("a", ready, old(7*day), sessions(3)), instance("b", ready)}},
		{rule: "spare slots are replaced first, too", config: func(c *Config) { c.SpareSlots = 5 }, want: "launch",
			given: []given{instance("a", ready, old(7*day), sessions(3))}},
		{rule: "without room it goes while it is idle", config: full, want: "drain a",
			given: []given{instance("a", ready, old(7*day-1))}},
		{rule: "but not while it is wanted", config: full, given: []given{demand(1), instance("a", ready, old(7*day-1))}},
		{rule: "nor while it has sessions", config: full, given: []given{instance("a", ready, old(7*day-1), sessions(1))}},
		{rule: "until its time is over", config: full, want: "drain a",
			given: []given{instance("a", ready, old(7*day), sessions(1))}},
		{rule: "one at a time, the oldest first", want: "drain b",
			given: []given{instance("a", ready, old(7*day), sessions(1)), instance("b", ready, old(8*day), sessions(1))}},
		{rule: "the next waits until the first is gone", given: []given{instance("a", ready, old(7*day), sessions(1)),
			instance("b", cordoned, drained, old(8*day), sessions(1))}},
		{rule: "nothing is renewed while launches fail",
			given: []given{failures(1, -time.Minute), instance("a", ready, old(7*day), sessions(3))}},
		{rule: "but it is tried whether they still do", config: min, want: "launch",
			given: []given{failures(1, -time.Minute), instance("a", ready, old(7*day), sessions(3))}},
		{rule: "a failure of long ago does not count", want: "drain a",
			given: []given{failures(1, -time.Hour), instance("a", ready, old(7*day), sessions(3))}},
	})
}

func TestPlanOfAGeneration(t *testing.T) {
	min := func(c *Config) { c.MinInstances = 2 }
	next := generation("2")
	testPlan(t, []row{
		{rule: "an instance of another generation is drained", want: "drain a",
			given: []given{next, instance("a", ready, version("1"), sessions(3))}},
		{rule: "not one of the same", given: []given{next, instance("a", ready, version("2"), sessions(3))}},
		{rule: "nor one of which it is not known", given: []given{next, instance("a", ready, sessions(3))}},
		{rule: "nor any while it is not known what is the generation now",
			given: []given{instance("a", ready, version("1"), sessions(3))}},
		{rule: "its replacement comes first", config: min, want: "launch",
			given: []given{next, each("a b", ready, version("1"), sessions(3))}},
		{rule: "then one goes", config: min, want: "drain a",
			given: []given{next, each("a b", ready, version("1"), sessions(3)), instance("c", ready, version("2"))}},
		{rule: "a generation that cannot be launched empties no pool", config: min,
			given: []given{next, failures(1, time.Minute), each("a b", ready, version("1"))}},
		{rule: "one that boots is let be", given: []given{next, instance("a", booting, version("1"))}},
	})
}

// TestRenewalsTakeATenth drains a large pool of an old generation.
func TestRenewalsTakeATenth(t *testing.T) {
	facts := []given{generation("2")}
	for i := range 40 {
		facts = append(facts, instance(fmt.Sprintf("a%02d", i), ready, version("1"), sessions(10)))
	}
	acts := plan(snapshotOf(facts...), testConfig(func(c *Config) { c.MaxInstances = 100 }), t0)
	if got, want := text(acts), "drain a00; drain a01; drain a02; drain a03"; got != want {
		t.Errorf("the plan is %q, want %q", got, want)
	}
}

// TestAgesDiffer: instances that were launched together are not renewed together.
func TestAgesDiffer(t *testing.T) {
	cfg := testConfig(nil)
	early := 0
	for range 1000 {
		s := snapshotOf(instance(NewLaunchID("p"), ready, old(0)))
		isOld := func(d time.Duration) bool { return aged(cfg, s.instances[0], t0.Add(d)) }
		switch {
		case isOld(7*day*3/4 - 1), !isOld(7 * day):
			t.Fatalf("%s is not old when it should be", s.instances[0].ID)
		case isOld(7 * day * 7 / 8):
			early++
		}
	}
	if early < 400 || early > 600 {
		t.Errorf("of 1000, %d are old in the first half of the time", early)
	}
}
