package pool

import (
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

const (
	launching   = store.InstanceLaunching
	booting     = store.InstanceBooting
	ready       = store.InstanceReady
	cordoned    = store.InstanceCordoned
	terminating = store.InstanceTerminating
	lost        = store.InstanceLost
)

func TestPlanOfALaunch(t *testing.T) {
	testPlan(t, []row{
		{rule: "a launch without an outcome is repeated",
			given: []given{instance("a", launching, asked)}, want: "repeat a"},
		{rule: "so is one that the cloud was not asked for",
			given: []given{instance("a", launching, unasked)}, want: "repeat a"},
		{rule: "nothing is done while its call is under way",
			given: []given{instance("a", launching, asked, busy)}},
		{rule: "or failed just now",
			given: []given{instance("a", launching, asked, failedBefore(time.Second))}},
		{rule: "the pause after a failure ends",
			given: []given{instance("a", launching, asked, failedBefore(0))}, want: "repeat a"},
		{rule: "a machine that the cloud lists is adopted without another call",
			given: []given{instance("a", launching)}, want: "adopt a i-a"},
		{rule: "one that ended before it was known is a failed launch",
			given: []given{instance("a", launching, machine(MachineEnded))}, want: "retire a (failed)"},
		{rule: "a launch that takes too long is given up",
			given: []given{instance("a", launching, asked, seenFor(5*time.Minute))}, want: "retire a (failed)"},
		{rule: "it is our own clock that says how long",
			given: []given{instance("a", launching, asked, func(_ *snapshot, in *store.Instance, _ *observation) {
				in.CreatedAt = t0.Add(-time.Hour)
			})}, want: "repeat a"},
		{rule: "a pool that is destroyed repeats no launch",
			given: []given{draining, instance("a", launching, asked)}, want: "retire a"},
	})
}

func TestPlanOfABoot(t *testing.T) {
	testPlan(t, []row{
		{rule: "it waits for its engine", given: []given{instance("a", booting)}},
		{rule: "when that answers it is ready", given: []given{instance("a", booting, healthy)}, want: "ready a"},
		{rule: "an answer at another address does not count", want: "locate a at tcp://a",
			given: []given{instance("a", booting, healthy, moved)}},
		{rule: "nor after the address was stored", given: []given{instance("a", booting, healthy,
			func(_ *snapshot, _ *store.Instance, obs *observation) { obs.probed = "tcp://old" })}},
		{rule: "a late address is stored", want: "locate a at tcp://a", given: []given{instance("a", booting,
			func(_ *snapshot, in *store.Instance, _ *observation) { in.Address = "" })}},
		{rule: "an address that the list does not have yet is kept", given: []given{instance("a", booting,
			func(s *snapshot, _ *store.Instance, _ *observation) {
				s.machines["a"] = Machine{LaunchID: "a", CloudID: "i-a", State: MachinePending}
			})}},
		{rule: "one that boots too long is retired",
			given: []given{instance("a", booting, seenFor(5*time.Minute))}, want: "retire a (failed)"},
		{rule: "one that answers at the last moment is not",
			given: []given{instance("a", booting, seenFor(5*time.Minute), healthy)}, want: "ready a"},
		{rule: "one that ends while it boots fails at once",
			given: []given{instance("a", booting, machine(MachineEnded))}, want: "retire a (failed)"},
		{rule: "one that is not listed yet is spared", given: []given{instance("a", booting, neverListed)}},
		{rule: "until that has lasted too long", want: "retire a (failed)",
			given: []given{instance("a", booting, missingFor(5*time.Minute))}},
		{rule: "a pool that is destroyed waits for no boot",
			given: []given{draining, instance("a", booting, healthy)}, want: "retire a"},
	})
}

func TestPlanOfAnInstanceInUse(t *testing.T) {
	testPlan(t, []row{
		{rule: "nothing is to be done while it serves", given: []given{instance("a", ready, sessions(3))}},
		{rule: "one that the cloud is ending is lost",
			given: []given{instance("a", ready, sessions(3), machine(MachineEnding))}, want: "lose a"},
		{rule: "one that somebody stopped is lost",
			given: []given{instance("a", ready, machine(MachineStopped))}, want: "lose a"},
		{rule: "a cordoned one is lost too",
			given: []given{instance("a", cordoned, machine(MachineEnded))}, want: "lose a"},
		{rule: "the list may lag",
			given: []given{instance("a", ready, missingFor(5*time.Minute-1))}},
		{rule: "but not for ever",
			given: []given{instance("a", ready, missingFor(5*time.Minute))}, want: "lose a"},
		{rule: "nothing is concluded from absence while the cloud cannot be asked",
			given: []given{unlisted, instance("a", ready, missingFor(time.Hour))}},
		{rule: "a few failed probes are borne", given: []given{instance("a", ready, strikes(4))}},
		{rule: "too many are not", given: []given{instance("a", ready, strikes(5))}, want: "lose a"},
		{rule: "probes of an address that it had before do not count", want: "locate a at tcp://a",
			given: []given{instance("a", ready, strikes(5), moved)}},
		{rule: "a loss that could not be stored waits",
			given: []given{instance("a", ready, strikes(5), failedBefore(time.Second))}},
	})
}

func TestPlanOfAnEnd(t *testing.T) {
	testPlan(t, []row{
		{rule: "sessions are ended first", given: []given{instance("a", lost, sessions(1))}},
		{rule: "then its machine", given: []given{instance("a", lost)}, want: "terminate a i-a"},
		{rule: "a termination that had no effect is asked for again",
			given: []given{instance("a", terminating, terminated)}, want: "terminate a i-a"},
		{rule: "but not at once", given: []given{instance("a", terminating, terminated, agreed)}},
		{rule: "nor soon after one that failed", given: []given{instance("a", terminating, failedBefore(time.Second))}},
		{rule: "a machine that ended meanwhile is forgotten without a wait", want: "forget a",
			given: []given{instance("a", terminating, terminated, agreed, machine(MachineEnded))}},
		{rule: "the record stays while the machine ends", want: "terminate a i-a",
			given: []given{instance("a", terminating, terminated, machine(MachineEnding))}},
		{rule: "it goes when the machine has ended",
			given: []given{instance("a", terminating, terminated, machine(MachineEnded))}, want: "forget a"},
		{rule: "also when it ended by itself",
			given: []given{instance("a", lost, machine(MachineEnded))}, want: "forget a"},
		{rule: "or is not listed any more",
			given: []given{instance("a", terminating, terminated, missingFor(0))}, want: "forget a"},
		{rule: "a machine that is not listed is terminated before it is forgotten",
			given: []given{instance("a", lost, missingFor(time.Hour))}, want: "terminate a i-a"},
		{rule: "also while the cloud cannot be asked",
			given: []given{unlisted, instance("a", lost, missingFor(0))}, want: "terminate a i-a"},
		{rule: "but then it is not forgotten",
			given: []given{unlisted, instance("a", lost, terminated, missingFor(time.Hour))}},
		{rule: "a new machine that was never listed may be there, whatever the cloud said of its end",
			given: []given{instance("a", terminating, terminated, neverListed)}},
		{rule: "until a lag is no explanation", want: "forget a",
			given: []given{instance("a", terminating, terminated, neverListed, missingFor(5*time.Minute))}},
		{rule: "a launch that was given up may still give a machine",
			given: []given{instance("a", terminating, asked, seenFor(5*time.Minute-1))}},
		{rule: "which is then ended", given: []given{instance("a", terminating, func(_ *snapshot, in *store.Instance, _ *observation) {
			in.CloudID, in.Address = "", ""
		})}, want: "terminate a i-a"},
		{rule: "after a while it will not come",
			given: []given{instance("a", terminating, asked, seenFor(5*time.Minute))}, want: "forget a"},
		{rule: "while the cloud cannot be asked, it may",
			given: []given{unlisted, instance("a", terminating, asked, seenFor(time.Hour))}},
		{rule: "a launch that the cloud was never asked for is gone at once",
			given: []given{instance("a", terminating, unasked)}, want: "forget a"},
	})
}

func TestPlanOfUnknownMachines(t *testing.T) {
	testPlan(t, []row{
		{rule: "a machine that no record knows is spared at first", given: []given{unknownMachine("i-x", 5*time.Minute-1)}},
		{rule: "then it is ended", want: "end unknown i-x; end unknown i-y",
			given: []given{unknownMachine("i-y", 5*time.Minute), unknownMachine("i-x", time.Hour)}},
		{rule: "not while the cloud cannot be asked", given: []given{unlisted, unknownMachine("i-x", time.Hour)}},
		{rule: "not again while its end is under way", given: []given{func(s *snapshot) {
			s.unknown["i-x"] = observation{known: t0.Add(-time.Hour), busy: true}
		}}},
		{rule: "it costs money, so it counts", want: "launch",
			given:  []given{demand(100), unknownMachine("i-x", 0), instance("a", ready, sessions(10))},
			config: func(c *Config) { c.MaxInstances = 3 }},
	})
}
