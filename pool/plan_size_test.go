package pool

import (
	"testing"
	"time"
)

func TestPlanGrows(t *testing.T) {
	two := func(c *Config) { c.MinInstances = 2 }
	spare := func(c *Config) { c.SpareSlots = 5 }
	testPlan(t, []row{
		{rule: "an empty pool stays empty"},
		{rule: "MinInstances are launched", config: two, want: "launch; launch"},
		{rule: "those that are on their way count", config: two, want: "launch",
			given: []given{instance("a", launching, asked, busy)}},
		{rule: "those that are leaving do not", config: two, want: "terminate a i-a; launch",
			given: []given{instance("a", lost), instance("b", ready)}},
		{rule: "nor does one that is just found to be lost", config: two, want: "lose a; launch",
			given: []given{instance("a", ready, machine(MachineEnded)), instance("b", ready)}},
		{rule: "nor one that is drained", config: two, want: "launch; cordon a",
			given: []given{instance("a", ready, drained, sessions(1)), instance("b", ready)}},
		{rule: "demand is served by whole instances", given: []given{demand(11)}, want: "launch; launch"},
		{rule: "free slots serve it first", given: []given{demand(5), instance("a", ready, sessions(5))}},
		{rule: "slots that boot are supply", given: []given{demand(10), instance("a", booting)}},
		{rule: "so are those of a launch without an outcome",
			given: []given{demand(10), instance("a", launching, asked, busy)}},
		{rule: "spare slots come on top", config: spare, want: "launch",
			given: []given{demand(6), instance("a", ready)}},
		{rule: "and are kept ready", config: spare, want: "launch", given: []given{instance("a", ready, sessions(6))}},
		{rule: "but not more than that", config: spare, given: []given{instance("a", ready, sessions(5))}},
		{rule: "MaxInstances is never exceeded", given: []given{demand(1000)}, want: "launch; launch; launch; launch"},
		{rule: "whatever may cost money counts", given: []given{demand(1000), instance("a", lost, sessions(2)),
			instance("b", terminating, asked), instance("c", cordoned, sessions(1), drained)}, want: "launch"},
		{rule: "a pool that was made smaller launches nothing",
			given:  []given{demand(100), instance("a", ready, sessions(10)), instance("b", ready, sessions(10))},
			config: func(c *Config) { c.MaxInstances = 1 }},
		{rule: "a closed pool launches nothing", given: []given{closed, demand(5)}, config: two},
	})
}

func TestPlanAfterFailedLaunches(t *testing.T) {
	testPlan(t, []row{
		{rule: "after a failed launch there is a pause", given: []given{demand(30), failures(1, time.Second)}},
		{rule: "then one is tried", given: []given{demand(30), failures(1, 0)}, want: "launch"},
		{rule: "the pause begins with the failure", given: []given{demand(30), instance("a", booting, machine(MachineEnded))},
			want: "retire a (failed)"},
		{rule: "one at a time", given: []given{demand(30), failures(1, 0), instance("a", booting)}},
		{rule: "a pause that no rule made is the work of a clock that was wrong",
			given: []given{demand(30), failures(1, 24*time.Hour)}, want: "launch"},
		{rule: "what is there is taken back into use at any time", want: "uncordon a",
			given: []given{demand(1), failures(9, time.Minute), instance("a", cordoned)}},
	})
}

func TestPlanShrinks(t *testing.T) {
	idle := idleFor(10 * time.Minute)
	testPlan(t, []row{
		{rule: "an instance that was idle for long is cordoned", given: []given{instance("a", ready, idle)}, want: "cordon a"},
		{rule: "not before", given: []given{instance("a", ready, idleFor(10*time.Minute-1))}},
		{rule: "not when it was needed meanwhile", given: []given{instance("a", ready, idle, neededBefore(10*time.Minute-1))}},
		{rule: "only after as long again", want: "cordon a",
			given: []given{instance("a", ready, idle, neededBefore(10*time.Minute))}},
		{rule: "not with a session", given: []given{instance("a", ready, idle, sessions(1))}},
		{rule: "never if it is configured so", given: []given{instance("a", ready, idleFor(1000*time.Hour))},
			config: func(c *Config) { c.IdleTimeout = -1 }},
		{rule: "one whose idle time is in the future is not idle", given: []given{instance("a", ready, idleFor(-time.Hour))}},
		{rule: "MinInstances stay", given: []given{instance("a", ready, idle), instance("b", ready, idle)},
			config: func(c *Config) { c.MinInstances = 1 }, want: "cordon a"},
		{rule: "and are instances that serve: one that boots is not there yet",
			given:  []given{instance("a", ready, idle), instance("b", booting)},
			config: func(c *Config) { c.MinInstances = 1 }},
		{rule: "the one that was idle longest goes first", want: "cordon b",
			given:  []given{instance("a", ready, idle), instance("b", ready, idleFor(11*time.Minute))},
			config: func(c *Config) { c.MinInstances = 1 }},
		{rule: "spare slots stay", given: []given{instance("a", ready, idle), instance("b", ready, sessions(6))},
			config: func(c *Config) { c.SpareSlots = 5 }},
		{rule: "but no more than those", want: "cordon a",
			given:  []given{instance("a", ready, idle), instance("b", ready, sessions(5))},
			config: func(c *Config) { c.SpareSlots = 5 }},
		{rule: "what is wanted stays", given: []given{demand(1), instance("a", ready, idle)}},
		{rule: "an instance that is being changed is left alone", given: []given{instance("a", ready, idle, busy)}},
		{rule: "a change of its address comes first", want: "locate a at tcp://a",
			given: []given{instance("a", ready, idle, moved)}},
		{rule: "a cordoned instance is retired", given: []given{instance("a", cordoned)}, want: "retire a"},
		{rule: "or taken back when it is wanted", given: []given{demand(1), instance("a", cordoned)}, want: "uncordon a"},
		{rule: "also for the sake of MinInstances", given: []given{instance("a", cordoned)},
			config: func(c *Config) { c.MinInstances = 1 }, want: "uncordon a"},
		{rule: "only as many as are wanted", want: "uncordon a; retire b",
			given: []given{demand(1), instance("a", cordoned), instance("b", cordoned)}},
		{rule: "before one is launched", want: "uncordon a; launch", given: []given{demand(11), instance("a", cordoned)}},
		{rule: "not while a step for it failed just now", want: "launch",
			given: []given{demand(1), instance("a", cordoned, failedBefore(time.Second))}},
		{rule: "one that is drained is not taken back", want: "retire a; launch",
			given: []given{demand(1), instance("a", cordoned, drained)}},
		{rule: "and goes after its last session", given: []given{instance("a", cordoned, drained, sessions(1))}},
		{rule: "one that is to be drained is cordoned with its sessions", want: "cordon a",
			given: []given{instance("a", ready, drained, sessions(3))}},
	})
}

func TestPlanOfADestroyedPool(t *testing.T) {
	testPlan(t, []row{
		{rule: "what is free is cordoned", given: []given{draining, instance("a", ready)}, want: "cordon a"},
		{rule: "what is not waits for its sessions", given: []given{draining, instance("a", ready, sessions(1))}},
		{rule: "what is cordoned is retired, wanted or not", want: "retire a",
			given: []given{draining, demand(5), instance("a", cordoned)}, config: func(c *Config) { c.MinInstances = 3 }},
		{rule: "while sessions are ended nothing is launched or cordoned",
			given: []given{closed, demand(5), instance("a", ready, idleFor(time.Hour))}},
		{rule: "a step that failed waits", given: []given{draining, instance("a", ready, failedBefore(time.Second))}},
	})
}
