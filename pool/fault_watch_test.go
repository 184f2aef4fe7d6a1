package pool_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
)

func TestFault06NotListedIsNotGone(t *testing.T) {
	// The address comes from a list that has the machine, and then for four minutes no list has it.
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		hidden := &hidingCloud{Cloud: r.cloud}
		r.cfg.Cloud = hidden
		m := r.start()
		r.withinStates(time.Minute, "ready")
		for range 3 {
			hidden.hide(true)
			time.Sleep(5*time.Minute - 10*time.Second)
			r.want("ready")
			hidden.hide(false)
			time.Sleep(time.Minute)
		}
		if s := m.Stats(); s.InstancesLost != 0 || r.cloud.Launches() != 1 {
			t.Errorf("%+v, %d machines were started", s, r.cloud.Launches())
		}
		hidden.hide(true) // for good, and its engine answers: somebody has taken its tags away
		time.Sleep(time.Hour)
		r.want("ready")
	})
}

func TestFault06NotListedForLongIsGone(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { minOne(c); c.ProbeStrikes = 1000 }, func(t *testing.T, r *rig) {
		hidden := &hidingCloud{Cloud: r.cloud}
		r.cfg.Cloud = hidden
		m := r.start()
		r.withinStates(time.Minute, "ready")
		hidden.hide(true)
		r.sicken(r.one().ID, errors.New("no route to host"))
		time.Sleep(5*time.Minute - 10*time.Second)
		r.want("ready")
		r.within(30*time.Second, "it is lost", func() bool { return m.Stats().InstancesLost == 1 })
	})
}

func TestFault06NewMachineThatCannotBeFoundIsNotForgotten(t *testing.T) {
	// It is terminated before the cloud can find it. The cloud calls it absent, which does not prove that it ended.
	inBubble(t, lagging, minOne, func(t *testing.T, r *rig) {
		r.start()
		time.Sleep(10 * time.Second)
		r.want("booting")
		r.cloud.IgnoreTerminate(r.one().ID, 1)
		r.drain()
		time.Sleep(time.Minute)
		r.want("terminating")
		r.within(5*time.Minute, "it is listed, and ended", func() bool { return r.states() == "" && r.cloud.Alive() == 0 })
	})
}

func TestFault07ListLagsBehindLaunches(t *testing.T) {
	inBubble(t, lagging, func(c *pool.Config) { c.MaxInstances = 10 }, func(t *testing.T, r *rig) {
		r.wait(25)
		r.start()
		r.withinStates(4*time.Minute, "ready ready ready")
		time.Sleep(time.Minute)
		if n := r.cloud.Launches(); n != 3 {
			t.Errorf("%d machines were started", n)
		}
	})
}

func TestFault08OrphanGraceSparesBootingMachines(t *testing.T) {
	for name, opts := range map[string]fake.CloudOptions{"": {Boot: 4 * time.Minute}, "lagging": {Boot: 2 * time.Minute, ListLag: 2 * time.Minute}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, opts, minOne, func(t *testing.T, r *rig) {
				m := r.start()
				for range 3 { // each time somebody takes over, nothing is known of the machine
					time.Sleep(90 * time.Second)
					r.stop()
					m = r.start()
				}
				r.wantOneLaunch()
				if s := m.Stats(); s.UnknownMachinesEnded != 0 || s.LaunchFailures != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestFault08OrphansAreEndedAfterTheGrace(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances = 2 }, func(t *testing.T, r *rig) {
		m := r.start()
		time.Sleep(time.Minute)
		r.plant("orphan", "uid-1")
		time.Sleep(5 * time.Minute)
		if r.cloud.Alive() != 1 {
			t.Fatal("it was ended within the grace time")
		}
		r.wait(100) // it costs money, so it leaves room for one
		m.Wake()
		time.Sleep(time.Second)
		if n := len(r.instances()); n != 1 {
			t.Errorf("%d instances beside one that nobody knows", n)
		}
		r.cloud.FailTerminate("orphan", errors.New("try again"))
		time.Sleep(20 * time.Second)
		r.cloud.FailTerminate("orphan", nil)
		r.within(time.Minute, "it is ended", func() bool { return r.machine("orphan").State == pool.MachineEnded })
		if s := m.Stats(); s.UnknownMachinesEnded != 1 || s.Errors == 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestFault09MachinesOfOthersAreNotTouched(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances = 5; c.MinInstances = 1 }, func(t *testing.T, r *rig) {
		foreign := r.cloud.PlantForeign()
		r.plant("sibling", "uid-of-another-store") // a pool with the same name
		m := r.start()
		r.within(time.Minute, "one serves", func() bool { return r.states() == "ready" })
		time.Sleep(time.Hour)
		for _, machine := range r.cloud.Machines() {
			if machine.State != pool.MachineRunning {
				t.Errorf("%s is %s", machine.LaunchID, machine.State)
			}
		}
		if s := m.Stats(); s.UnknownMachinesEnded != 0 || foreign == "" {
			t.Errorf("%+v", s)
		}
	})
}

func TestFault19EndedFromOutside(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(r *rig, id string)
		within time.Duration
	}{
		"terminated":       {func(r *rig, id string) { r.cloud.Interrupt(id) }, 13 * time.Second},
		"stopped":          {func(r *rig, id string) { r.cloud.Stop(id) }, 13 * time.Second},
		"without a trace":  {func(r *rig, id string) { r.cloud.Vanish(id) }, 90 * time.Second},
		"its engine hangs": {func(r *rig, id string) { r.sicken(id, errHangs) }, 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
				m := r.start()
				r.withinStates(time.Minute, "ready")
				first := r.one().ID
				r.place(3)
				time.Sleep(time.Minute)
				c.end(r, first)
				r.within(c.within, "it is lost", func() bool { return m.Stats().InstancesLost == 1 })
				// Another may come when the first one costs nothing any more.
				r.within(time.Minute, "another serves", func() bool {
					return r.states() == "ready" && r.one().ID != first && r.cloud.Alive() == 1
				})
				if got := strings.Join(r.changes, " "); got != "launching booting ready lost gone launching booting ready" {
					t.Errorf("the changes were %s", got)
				}
			})
		})
	}
}

func TestFault20TerminationWithoutEffect(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		r.start()
		r.withinStates(time.Minute, "ready")
		id := r.one().ID
		r.cloud.IgnoreTerminate(id, 3)
		r.drain()
		time.Sleep(80 * time.Second)
		r.want("terminating")
		if n := r.cloud.Calls(fake.Terminate); n != 3 {
			t.Errorf("it was asked for %d times", n)
		}
		r.within(time.Minute, "it is gone", func() bool { return r.states() == "" && r.cloud.Alive() == 0 })
	})
}
