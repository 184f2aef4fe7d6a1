package pool

import (
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

func TestPlanOfAnInterruption(t *testing.T) {
	testPlan(t, []row{
		{rule: "what is taken back takes no more sessions, and its sessions are demand at once", want: "drain a; launch",
			given: []given{instance("a", ready, sessions(3), foresees(OutlookInterrupted))}},
		{rule: "free slots elsewhere serve them first", want: "drain a",
			given: []given{instance("a", ready, sessions(3), foresees(OutlookInterrupted)), instance("b", ready, sessions(7))}},
		{rule: "they stay demand while it lasts", want: "launch",
			given: []given{instance("a", cordoned, drained, sessions(3), outlook(OutlookInterrupted), foresees(OutlookInterrupted))}},
		{rule: "one that has none is not replaced for their sake", want: "drain a",
			given: []given{instance("a", ready, foresees(OutlookInterrupted))}},
		{rule: "but for the sake of MinInstances", want: "drain a; launch", config: func(c *Config) { c.MinInstances = 1 },
			given: []given{instance("a", ready, foresees(OutlookInterrupted))}},
		{rule: "the replacement has its place below MaxInstances", want: "drain a", config: func(c *Config) { c.MaxInstances = 1 },
			given: []given{instance("a", ready, sessions(3), foresees(OutlookInterrupted))}},
		{rule: "its host may say so first", want: "drain a",
			given: []given{instance("a", ready, notices(OutlookInterrupted))}},
		{rule: "a notice that is taken back does not bring it back",
			given: []given{instance("a", cordoned, drained, sessions(1), outlook(OutlookRetiring))}},
		{rule: "one that was drained for less is told", want: "drain a",
			given: []given{instance("a", cordoned, drained, sessions(1), foresees(OutlookInterrupted)), instance("b", ready)}},
		{rule: "when it is empty it goes", want: "retire a",
			given: []given{instance("a", cordoned, drained, outlook(OutlookInterrupted), foresees(OutlookInterrupted))}},
		{rule: "one that boots fails", want: "retire a (failed)",
			given: []given{instance("a", booting, healthy, foresees(OutlookInterrupted))}},
		{rule: "its end comes before its notice", want: "lose a",
			given: []given{instance("a", ready, foresees(OutlookInterrupted), machine(MachineEnded))}},
	})
}

func TestPlanOfOtherOutlooks(t *testing.T) {
	min := func(c *Config) { c.MinInstances = 1 }
	one := func(c *Config) { c.MinInstances, c.MaxInstances = 1, 1 }
	testPlan(t, []row{
		{rule: "what the cloud will retire is drained", want: "drain a",
			given: []given{instance("a", ready, sessions(3), foresees(OutlookRetiring))}},
		{rule: "what is impaired for long is drained", want: "drain a",
			given: []given{instance("a", ready, sessions(3), foresees(OutlookImpaired))}},
		{rule: "not what is impaired for a moment",
			given: []given{instance("a", ready, foresees(OutlookImpaired), func(_ *snapshot, _ *store.Instance, obs *observation) {
				obs.impaired = t0.Add(-impairedGrace + time.Second)
			})}},
		{rule: "nor many at once: their probes say which of them serve",
			given: []given{each("a b c d", ready, sessions(1), foresees(OutlookImpaired))}},
		{rule: "what is impaired and does not answer is lost", want: "lose a",
			given: []given{instance("a", ready, strikes(5), foresees(OutlookImpaired))}},
		{rule: "what the cloud advises to leave takes no more sessions", want: "cordon a",
			given: []given{instance("a", ready, sessions(3), foresees(OutlookRebalance))}},
		{rule: "and is replaced where it is needed", want: "launch; cordon a", config: min,
			given: []given{instance("a", ready, sessions(3), foresees(OutlookRebalance))}},
		{rule: "its sessions stay as long as they want",
			given: []given{instance("a", cordoned, sessions(3), outlook(OutlookRebalance), foresees(OutlookRebalance))}},
		{rule: "then it goes", want: "retire a",
			given: []given{instance("a", cordoned, outlook(OutlookRebalance), foresees(OutlookRebalance))}},
		{rule: "when the advice is taken back it takes sessions again", want: "uncordon a",
			given: []given{instance("a", cordoned, sessions(3), outlook(OutlookRebalance))}},
		{rule: "but not against an operator",
			given: []given{instance("a", cordoned, operator, sessions(3), foresees(OutlookRebalance)), instance("b", cordoned, operator)}},
		{rule: "where nothing else can be had it is better than none", config: one,
			given: []given{demand(3), instance("a", ready, sessions(3), foresees(OutlookRebalance))}},
		{rule: "and comes back", config: one, want: "uncordon a",
			given: []given{demand(3), instance("a", cordoned, sessions(3), outlook(OutlookRebalance), foresees(OutlookRebalance))}},
		{rule: "unless it is full, and would serve nobody", config: one,
			given: []given{demand(3), instance("a", cordoned, sessions(10), outlook(OutlookRebalance), foresees(OutlookRebalance))}},
		{rule: "and then stays for a while", config: one,
			given: []given{instance("a", ready, sessions(3), lasting(9*time.Second), foresees(OutlookRebalance))}},
		{rule: "while launches fail, too", want: "uncordon a",
			given: []given{demand(3), failures(1, time.Minute), instance("a", cordoned, sessions(3), foresees(OutlookRebalance))}},
		{rule: "an advice may become more", want: "drain a; launch",
			given: []given{instance("a", cordoned, sessions(3), outlook(OutlookRebalance), foresees(OutlookInterrupted))}},
	})
}
