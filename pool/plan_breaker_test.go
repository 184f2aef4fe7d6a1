package pool

import (
	"testing"
	"time"
)

func TestPlanWhenManyDoNotAnswer(t *testing.T) {
	wide := func(c *Config) { c.MaxInstances = 20 }
	testPlan(t, []row{
		{rule: "two that do not answer are lost", want: "lose a; lose b", given: []given{each("a b", ready, strikes(5))}},
		{rule: "three of three may be a fault of ours", given: []given{each("a b c", ready, strikes(5))}},
		{rule: "three of ten are lost", want: "lose a; lose b; lose c", config: wide,
			given: []given{each("a b c", ready, strikes(5)), each("d e f g h i j", ready, sessions(1))}},
		{rule: "four of ten are not", config: wide,
			given: []given{each("a b c d", ready, strikes(5)), each("e f g h i j", ready, sessions(1))}},
		{rule: "those that begin to fail count",
			given: []given{instance("a", ready, strikes(5)), each("b c", cordoned, drained, sessions(1), strikes(2))}},
		{rule: "one failed probe is chance", want: "lose a",
			given: []given{instance("a", ready, strikes(5)), each("b c", ready, sessions(1), strikes(1))}},
		{rule: "what the cloud says has ended is lost", want: "lose d",
			given: []given{each("a b c", ready, strikes(5)), instance("d", ready, strikes(5), machine(MachineEnded))}},
		{rule: "and what it calls impaired", want: "lose d",
			given: []given{each("a b c", ready, strikes(5)), instance("d", ready, strikes(5), foresees(OutlookImpaired))}},
		{rule: "with that the others may be few enough", want: "lose a; lose b; lose c; lose d",
			given: []given{each("a b", ready, strikes(5)), each("c d", ready, strikes(5), machine(MachineEnded))}},
		{rule: "their slots are not counted on for the next session", want: "launch",
			given: []given{demand(5), each("a b c", ready, strikes(5))}},
		{rule: "but they are not replaced for MinInstances", config: func(c *Config) { c.MinInstances = 3 },
			given: []given{each("a b c", ready, strikes(5))}},
		{rule: "nor lost for a list that is doubted",
			given: []given{each("a b c d", ready, strikes(5), missingFor(6*time.Minute))}},
	})
}

func TestPlanWhenTheListLacksMany(t *testing.T) {
	gone := missingFor(5 * time.Minute)
	wide := func(c *Config) { c.MaxInstances = 20 }
	testPlan(t, []row{
		{rule: "one alone is believed to be gone", want: "lose a", given: []given{instance("a", ready, gone)}},
		{rule: "a list that lacks all is doubted", given: []given{each("a b", ready, gone)}},
		{rule: "or many", config: wide, given: []given{each("a b c d", ready, gone), each("e f g h i j", ready, sessions(1))}},
		{rule: "not some", config: wide, want: "lose a; lose b; lose c",
			given: []given{each("a b c", ready, gone), each("d e f g h i j", ready, sessions(1))}},
		{rule: "it is believed at last", want: "lose a; lose b", given: []given{each("a b", ready, missingFor(10*time.Minute))}},
		{rule: "but never while their engines answer", given: []given{each("a b", ready, healthy, missingFor(time.Hour))}},
		{rule: "nor is one lost alone whose engine answers", given: []given{instance("a", ready, healthy, missingFor(time.Hour))}},
		{rule: "what ends is not forgotten for such a list",
			given: []given{each("a b", ready, missingFor(0)), instance("c", terminating, terminated, missingFor(time.Minute))}},
		{rule: "nor is an unknown machine ended", given: []given{each("a b", ready, missingFor(0)), unknownMachine("i-x", time.Hour)}},
		{rule: "one that lags behind new machines is not doubted", want: "end unknown i-x",
			given: []given{each("a b", ready, neverListed), unknownMachine("i-x", time.Hour)}},
		{rule: "what it says is believed", want: "lose c",
			given: []given{each("a b", ready, gone), instance("c", ready, machine(MachineEnded)), instance("d", ready, gone)}},
	})
}

func TestPlanWhileCredentialsAreRefused(t *testing.T) {
	min := func(c *Config) { c.MinInstances = 3 }
	testPlan(t, []row{
		{rule: "nothing is launched", config: min, given: []given{refused, demand(10)}},
		{rule: "no launch is repeated", given: []given{refused, instance("a", launching, asked)}},
		{rule: "nothing is ended", given: []given{refused, instance("a", terminating), unknownMachine("i-x", time.Hour)}},
		{rule: "nor retired", given: []given{refused, instance("a", ready, idleFor(time.Hour)), instance("b", cordoned), instance("c", ready, old(30*day))}},
		{rule: "what is there is used", want: "uncordon a", given: []given{refused, demand(1), instance("a", cordoned)}},
		{rule: "also what the cloud advises to leave", want: "uncordon a",
			given: []given{refused, demand(1), instance("a", cordoned, foresees(OutlookRebalance))}},
		{rule: "which is not retired either", given: []given{refused, instance("a", cordoned, foresees(OutlookRebalance))}},
		{rule: "one that does not answer is lost", want: "lose a", given: []given{refused, instance("a", ready, strikes(5))}},
	})
}

func TestPlanKeepsToTheRate(t *testing.T) {
	testPlan(t, []row{
		{rule: "a launch needs a token", given: []given{demand(40), tokens(0)}},
		{rule: "each needs one", given: []given{demand(40), tokens(2)}, want: "launch; launch"},
		{rule: "so does one that is repeated", want: "repeat b; launch", given: []given{demand(40), tokens(2),
			instance("a", launching, asked, failedBefore(time.Second)), instance("b", launching, asked)}},
		{rule: "those that have waited longest come first", want: "repeat b", given: []given{tokens(1),
			instance("a", launching, asked, failedBefore(-time.Second)), instance("b", launching, asked, failedBefore(-time.Minute))}},
	})
}
