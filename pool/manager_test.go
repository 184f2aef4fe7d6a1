package pool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// TestReadySoonAfterRunning checks that an instance takes sessions at most 2 s after its machine runs, or after the cloud's
// list, which may lag, shows that.
func TestReadySoonAfterRunning(t *testing.T) {
	for name, measure := range readySoon() {
		t.Run(name, measure.check)
	}
}

// readySoon boots machines that begin to run at various moments between two looks at the cloud.
func readySoon() map[string]scenario {
	all := make(map[string]scenario)
	for name, lag := range map[string]time.Duration{"a list without a lag": -1, "a list with a lag": 3 * time.Second} {
		all[name] = func(t *testing.T) []figure {
			var longest time.Duration
			for boot := 17 * time.Second; boot < 18*time.Second; boot += 37 * time.Millisecond {
				inBubble(t, fake.CloudOptions{Boot: boot, ListLag: lag}, minOne, func(t *testing.T, r *rig) {
					r.start()
					r.withinStates(time.Minute, "ready")
					shown := r.machine(r.one().ID).Launched.Add(boot + max(lag, 0))
					longest = max(longest, r.one().Since.Sub(shown))
				})
			}
			return []figure{{longest.Seconds(), "s/ready", 2}}
		}
	}
	return all
}

func TestOneHangingEngineDoesNotDelayOthers(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MinInstances, c.MaxInstances = 4, 4 }, func(t *testing.T, r *rig) {
		m := r.start()
		r.withinStates(time.Minute, "ready ready ready ready")
		r.sicken(r.instances()[0].ID, errHangs)
		r.cloud.Interrupt(r.instances()[1].ID)
		r.within(13*time.Second, "the other is lost", func() bool { return m.Stats().InstancesLost == 1 })
		r.within(20*time.Second, "and replaced", func() bool { return r.states() == "ready ready ready ready" && r.cloud.Launches() == 5 })
		r.within(90*time.Second, "the one that hangs is lost", func() bool { return m.Stats().InstancesLost == 2 })
	})
}

func TestStrikesAreResetByAnAnswer(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		m := r.start()
		r.withinStates(time.Minute, "ready")
		id := r.one().ID
		for range 10 {
			r.sicken(id, errors.New("busy"))
			r.within(time.Minute, "four probes failed", func() bool { return m.Stats().ProbeFailures%4 == 0 && m.Stats().ProbeFailures > 0 })
			r.sicken(id, nil)
			time.Sleep(11 * time.Second)
			r.sicken(id, errors.New("busy"))
			time.Sleep(40 * time.Second)
			r.sicken(id, nil)
			time.Sleep(11 * time.Second)
		}
		r.want("ready")
		if m.Stats().InstancesLost != 0 {
			t.Errorf("%+v", m.Stats())
		}
		r.sicken(id, errors.New("busy"))
		r.within(51*time.Second, "it is lost", func() bool { return m.Stats().InstancesLost == 1 })
	})
}

func TestEngineThatNeverAnswersFailsTheLaunch(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		m := r.start()
		time.Sleep(time.Second)
		r.sicken(r.one().ID, errHangs)
		r.within(6*time.Minute, "the launch failed", func() bool { return m.Stats().LaunchFailures == 1 })
		r.withinStates(time.Minute, "ready")
	})
}

func TestCloudThatCannotBeAsked(t *testing.T) {
	for name, fault := range map[string]fake.Fault{"its list fails": {Before: errors.New("no route to the cloud")}, "its list hangs": {Hang: true}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances = 2 }, func(t *testing.T, r *rig) {
				r.wait(1)
				m := r.start()
				r.withinStates(time.Minute, "ready")
				r.wait(0)
				r.place(1)
				r.cloud.Next(fake.ListMachines, 2000, fault)
				time.Sleep(2 * time.Hour)
				r.want("ready") // nothing is concluded from what is not listed
				if s := m.Stats(); s.Errors == 0 || s.InstancesLost > 0 || r.log() == "" {
					t.Errorf("%+v", s)
				}
				r.wait(10) // a session may need an instance: it is launched, and known by its launch
				m.Wake()
				r.within(time.Minute, "it is launched", func() bool { return r.cloud.Launches() == 2 })
				r.wait(0)
				r.cloud.Heal()
				r.within(2*time.Minute, "it serves", func() bool { return r.states() == "ready ready" })
			})
		})
	}
}

func TestStoreThatCannotBeUsed(t *testing.T) {
	for name, fault := range map[string]func(*lossyStore){
		"it fails": func(s *lossyStore) { s.down = errors.New("no route to the store") },
		"it hangs": func(s *lossyStore) { s.hung = true },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
				m := r.start()
				r.withinStates(time.Minute, "ready")
				r.store.set(fault)
				time.Sleep(time.Hour)
				r.store.set(func(s *lossyStore) { s.down, s.hung = nil, false })
				if m.Stats().Errors == 0 {
					t.Error("no error was counted")
				}
				r.cloud.Interrupt(r.one().ID)
				r.within(3*time.Minute, "another serves", func() bool { return r.states() == "ready" && r.cloud.Launches() == 2 })
			})
		})
	}
}

// TestEveryReplyOfTheStoreIsLost lets every change be stored with an unknown outcome. Each is reported once.
func TestEveryReplyOfTheStoreIsLost(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, nil, func(t *testing.T, r *rig) {
		r.store.set(func(s *lossyStore) { s.lose = 1e6 })
		r.wait(1)
		m := r.start()
		r.withinStates(time.Minute, "ready")
		r.wait(0)
		r.withinStates(12*time.Minute, "")
		if got := strings.Join(r.changes, " "); got != "booting ready cordoned terminating gone" {
			t.Errorf("the changes were %s", got)
		}
		if s := m.Stats(); s.Launches != 1 || r.cloud.Launches() != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	for verb, fault := range map[fake.Verb]fake.Fault{
		fake.Prepare: {Hang: true}, fake.Launch: {HangAfter: true}, fake.ListMachines: {Hang: true}, fake.Terminate: {Hang: true},
	} {
		t.Run(string(verb), func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
				if verb == fake.Terminate {
					r.start()
					r.withinStates(time.Minute, "ready")
					r.drain()
				}
				r.cloud.Next(verb, 1e3, fault)
				if verb != fake.Terminate {
					r.start()
				}
				time.Sleep(10500 * time.Millisecond)
				begun := time.Now()
				r.stop()
				if took := time.Since(begun); took != 0 {
					t.Errorf("it took %v", took)
				}
				if strings.Contains(r.log(), "cancel") {
					t.Errorf("its end was logged as a failure: %s", r.log())
				}
			})
		})
	}
}

// TestRunAgain runs one Manager under one lease after another.
func TestRunAgain(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		m := pool.NewManager(r.cfg)
		for fence := range uint64(3) {
			held := store.Lease{ID: "planner", Holder: "a", Fence: fence + 1}
			r.put(&held)
			ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
			m.Run(ctx, held)
			cancel()
		}
		r.wantOneLaunch()
	})
}

func TestWakeAndStatsAtAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := pool.NewManager(pool.Config{})
		for range 3 {
			m.Wake()
		}
		if s := m.Stats(); s != (pool.Stats{}) {
			t.Errorf("%+v", s)
		}
	})
}

// TestQuietPoolAsksLittle counts the calls of an idle pool.
func TestQuietPoolAsksLittle(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MinInstances, c.MaxInstances = 5, 5 }, func(t *testing.T, r *rig) {
		m := r.start()
		r.withinStates(time.Minute, "ready ready ready ready ready")
		before := r.cloud.Calls(fake.ListMachines)
		for range 600 { // waiting sessions wake the Manager often, which asks the cloud no more often
			m.Wake()
			time.Sleep(time.Second)
		}
		if n := r.cloud.Calls(fake.ListMachines) - before; n < 50 || n > 61 {
			t.Errorf("in 10 minutes the cloud was asked %d times", n)
		}
	})
}
