package fake_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
)

// launch starts a machine, or returns why not.
func launch(t *testing.T, c pool.Cloud, id string) (pool.Machine, error) {
	t.Helper()
	f, err := c.Prepare(t.Context(), pool.Spec{Pool: "p", PoolUID: "u", LaunchID: id, Type: "t3.large"})
	if err != nil {
		t.Fatal(err)
	}
	return c.Launch(t.Context(), id, f)
}

func mustLaunch(t *testing.T, c pool.Cloud, id string) pool.Machine {
	t.Helper()
	m, err := launch(t, c, id)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// shown returns the state in which List shows a launch, "" if it does not, and the reason.
func shown(t *testing.T, c pool.Cloud, id string) (pool.MachineState, string) {
	t.Helper()
	all, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.LaunchID == id {
			return m.State, m.Reason
		}
	}
	return "", ""
}

func wantShown(t *testing.T, c pool.Cloud, id string, want pool.MachineState) {
	t.Helper()
	if got, _ := shown(t, c, id); got != want {
		t.Errorf("after %v %s is shown as %q, want %q", time.Since(epoch), id, got, want)
	}
}

// epoch is when every bubble begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestListShowsTheWorldAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewCloud(fake.CloudOptions{
			Latency: -1, Boot: 10 * time.Second, ListLag: 3 * time.Second, Ending: 5 * time.Second, Linger: time.Minute,
		})
		m := mustLaunch(t, c, "a")
		wantShown(t, c, "a", "")
		time.Sleep(3 * time.Second)
		wantShown(t, c, "a", pool.MachinePending)
		time.Sleep(10*time.Second - time.Nanosecond)
		wantShown(t, c, "a", pool.MachinePending)
		time.Sleep(time.Nanosecond)
		wantShown(t, c, "a", pool.MachineRunning)
		if _, err := c.Terminate(t.Context(), m.CloudID); err != nil {
			t.Fatal(err)
		}
		wantShown(t, c, "a", pool.MachineRunning)
		time.Sleep(3 * time.Second)
		wantShown(t, c, "a", pool.MachineEnding)
		time.Sleep(5 * time.Second)
		wantShown(t, c, "a", pool.MachineEnded)
		time.Sleep(time.Minute)
		wantShown(t, c, "a", "")
	})
}

func TestLostReplyOfALaunch(t *testing.T) {
	c := fake.NewCloud(fake.CloudOptions{Instant: true})
	c.LoseLaunches(1)
	if m, err := launch(t, c, "a"); err == nil {
		t.Fatalf("Launch = %+v", m)
	}
	if n := c.Launches(); n != 1 {
		t.Fatalf("%d machines were started", n)
	}
	m := mustLaunch(t, c, "a")
	if m.CloudID != machine(t, c, "a").CloudID || c.Launches() != 1 {
		t.Errorf("the repetition gave %+v, %d machines were started", m, c.Launches())
	}
	if n := c.Calls(fake.Launch); n != 2 {
		t.Errorf("Calls = %d", n)
	}
}

func TestLaunchFailures(t *testing.T) {
	c := fake.NewCloud(fake.CloudOptions{Instant: true, Capacity: 1})
	c.FailLaunches(1, pool.ErrQuota)
	if _, err := launch(t, c, "a"); !errors.Is(err, pool.ErrQuota) {
		t.Errorf("Launch = %v, want ErrQuota", err)
	}
	mustLaunch(t, c, "b")
	if _, err := launch(t, c, "c"); !errors.Is(err, pool.ErrCapacity) {
		t.Errorf("Launch = %v, want ErrCapacity", err)
	}
	c.SetCapacity(-1)
	mustLaunch(t, c, "c")
	if c.Launches() != 2 || c.MaxAlive() != 2 || c.Alive() != 2 {
		t.Errorf("Launches %d, MaxAlive %d, Alive %d", c.Launches(), c.MaxAlive(), c.Alive())
	}
}

func TestMachineThatEndsAtBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewCloud(fake.CloudOptions{ListLag: -1, Latency: -1})
		c.EndAtBoot(1, "Client.InternalError")
		mustLaunch(t, c, "a")
		wantShown(t, c, "a", pool.MachinePending)
		time.Sleep(5 * time.Second)
		if s, reason := shown(t, c, "a"); s != pool.MachineEnded || reason != "Client.InternalError" {
			t.Errorf("it is %s, %s", s, reason)
		}
	})
}

func TestEndFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewCloud(fake.CloudOptions{ListLag: -1, Latency: -1, Boot: -1})
		interrupted := mustLaunch(t, c, "interrupted")
		vanished := mustLaunch(t, c, "vanished")
		mustLaunch(t, c, "stopped")
		c.Interrupt(interrupted.CloudID)
		c.Vanish(vanished.CloudID)
		c.Stop("stopped")
		wantShown(t, c, "interrupted", pool.MachineEnding)
		wantShown(t, c, "vanished", "")
		wantShown(t, c, "stopped", pool.MachineStopped)
		time.Sleep(2 * time.Second)
		wantShown(t, c, "interrupted", pool.MachineEnded)
		if n := c.Alive(); n != 1 {
			t.Errorf("%d machines cost money, want the stopped one", n)
		}
		reused := mustLaunch(t, c, "reused")
		if reused.Address != interrupted.Address && reused.Address != vanished.Address {
			t.Errorf("the address %s is none of those that are free again", reused.Address)
		}
	})
}

func TestTerminationThatIsIgnored(t *testing.T) {
	c := fake.NewCloud(fake.CloudOptions{Instant: true})
	m := mustLaunch(t, c, "a")
	c.IgnoreTerminate("a", 1)
	for want := 1; want >= 0; want-- {
		if failed, err := c.Terminate(t.Context(), m.CloudID); err != nil || len(failed) > 0 {
			t.Fatalf("Terminate = %v, %v", failed, err)
		}
		if n := c.Alive(); n != want {
			t.Errorf("%d machines are alive, want %d", n, want)
		}
	}
}

func TestHookDecidesEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := errors.New("before"), errors.New("after")
		var seen []fake.Call
		c := fake.NewCloud(fake.CloudOptions{Instant: true, Fault: func(call fake.Call) fake.Fault {
			seen = append(seen, call)
			switch {
			case call.Verb != fake.Launch:
				return fake.Fault{}
			case call.N == 1:
				return fake.Fault{Before: before, Delay: time.Second}
			case call.N == 2:
				return fake.Fault{After: after}
			case call.N == 3:
				return fake.Fault{HangAfter: true}
			case call.N == 4:
				return fake.Fault{Deaf: true, Delay: time.Hour}
			}
			return fake.Fault{}
		}})
		replica := c.As("replica-1")
		begun := time.Now()
		if _, err := launch(t, replica, "a"); !errors.Is(err, before) || c.Launches() != 0 || time.Since(begun) != time.Second {
			t.Errorf("the first launch: %v after %v, %d machines", err, time.Since(begun), c.Launches())
		}
		if _, err := launch(t, replica, "a"); !errors.Is(err, after) || c.Launches() != 1 {
			t.Errorf("the second launch: %v, %d machines", err, c.Launches())
		}
		f, err := c.Prepare(t.Context(), pool.Spec{Pool: "p", PoolUID: "u", LaunchID: "a", Type: "t3.large"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun = time.Now()
		if _, err := replica.Launch(ctx, "a", f); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Minute {
			t.Errorf("the third launch: %v after %v", err, time.Since(begun))
		}
		if _, err := replica.Launch(ctx, "a", f); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Hour+time.Minute {
			t.Errorf("the fourth launch: %v after %v", err, time.Since(begun))
		}
		want := fake.Call{Actor: "replica-1", Verb: fake.Launch, Host: "a", N: 4, Bounded: true}
		if last := seen[len(seen)-1]; last != want {
			t.Errorf("the last call was %+v, want %+v", last, want)
		}
	})
}

func TestHealUndoesWhatWasPromised(t *testing.T) {
	c := fake.NewCloud(fake.CloudOptions{Instant: true})
	m := mustLaunch(t, c, "a")
	c.FailLaunches(5, pool.ErrAuth)
	c.SetCapacity(0)
	c.FailTerminate("a", errors.New("protected"))
	c.Hang(fake.ListMachines)
	c.Heal()
	mustLaunch(t, c, "b")
	wantShown(t, c, "b", pool.MachineRunning)
	if failed, err := c.Terminate(t.Context(), m.CloudID); err != nil || len(failed) > 0 {
		t.Errorf("Terminate = %v, %v", failed, err)
	}
}

func TestDoneIsCalledBetweenTheEffectAndItsReply(t *testing.T) {
	var c *fake.Cloud
	machines := -1
	c = fake.NewCloud(fake.CloudOptions{Instant: true, Fault: func(call fake.Call) fake.Fault {
		if call.Verb != fake.Launch {
			return fake.Fault{}
		}
		return fake.Fault{After: errors.New("lost"), Done: func() { machines = c.Launches() }}
	}})
	if _, err := launch(t, c, "a"); err == nil || machines != 1 {
		t.Errorf("%v; there were %d machines", err, machines)
	}
}

func TestSiblingIsListedAndNotTheirsToEnd(t *testing.T) {
	c := fake.NewCloud(fake.CloudOptions{Instant: true})
	id := c.PlantSibling("another pool")
	all, err := c.List(t.Context())
	if err != nil || len(all) != 1 || all[0].CloudID != id || all[0].PoolUID != "another pool" {
		t.Errorf("%+v, %v", all, err)
	}
	if failed, err := c.Terminate(t.Context(), id); err != nil || failed[id] == nil || c.Alive() != 0 || c.Launches() != 0 {
		t.Errorf("%v, %v; %d alive, %d launches", failed, err, c.Alive(), c.Launches())
	}
	if m := c.Machines()[0]; m.State != pool.MachineRunning || !m.Ended.IsZero() {
		t.Errorf("%+v", m)
	}
}

func TestWhatIsForetoldIsShownWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewCloud(fake.CloudOptions{ListLag: 3 * time.Second, Latency: -1, Boot: -1})
		outlook := func() (pool.Outlook, string) {
			all, err := c.List(t.Context())
			if err != nil || len(all) != 1 {
				t.Fatalf("List = %+v, %v", all, err)
			}
			return all[0].Outlook, all[0].Reason
		}
		mustLaunch(t, c, "a")
		time.Sleep(3 * time.Second)
		c.Foretell("a", pool.OutlookRebalance, "advice")
		if o, _ := outlook(); o != pool.OutlookGood {
			t.Errorf("the list does not lag: %q", o)
		}
		time.Sleep(3 * time.Second)
		if o, reason := outlook(); o != pool.OutlookRebalance || reason != "advice" {
			t.Errorf("it is %q: %s", o, reason)
		}
		c.Reclaim("a", 2*time.Minute)
		time.Sleep(2*time.Minute + 3*time.Second - time.Nanosecond)
		if o, _ := outlook(); o != pool.OutlookInterrupted || machine(t, c, "a").State != pool.MachineEnded {
			t.Errorf("it is %q, and %s", o, machine(t, c, "a").State)
		}
		time.Sleep(time.Nanosecond)
		if o, reason := outlook(); o != pool.OutlookGood || reason != "Server.SpotInstanceTermination" {
			t.Errorf("as it ends it is %q: %s", o, reason)
		}
	})
}

func TestRefusedCallsHaveNoEffect(t *testing.T) {
	c := fake.NewCloud(fake.CloudOptions{Instant: true})
	m := mustLaunch(t, c, "a")
	f, err := c.Prepare(t.Context(), pool.Spec{LaunchID: "b"})
	if err != nil {
		t.Fatal(err)
	}
	c.Refuse(pool.ErrAuth)
	for _, call := range []func() error{
		func() error { _, err := c.Prepare(t.Context(), pool.Spec{LaunchID: "c"}); return err },
		func() error { _, err := c.Launch(t.Context(), "b", f); return err },
		func() error { _, err := c.List(t.Context()); return err },
		func() error { _, err := c.Terminate(t.Context(), m.CloudID); return err },
		func() error { _, err := c.Generation(t.Context()); return err },
		func() error { _, err := c.Explain(t.Context(), m.CloudID); return err },
	} {
		if err := call(); !errors.Is(err, pool.ErrAuth) {
			t.Errorf("it is %v", err)
		}
	}
	if c.Launches() != 1 || c.Alive() != 1 {
		t.Errorf("%d machines were started, %d are alive", c.Launches(), c.Alive())
	}
	c.Refuse(nil)
	wantShown(t, c, "a", pool.MachineRunning)
}

func TestGenerationAndConsole(t *testing.T) {
	c := fake.NewCloud(fake.CloudOptions{Instant: true})
	m := mustLaunch(t, c, "a")
	for _, want := range []string{"", "2"} {
		if want != "" {
			c.SetGeneration(want)
			c.SetConsole("a", want)
		}
		generation, err := c.Generation(t.Context())
		console, err2 := c.Explain(t.Context(), m.CloudID)
		if generation != want || console != want || err != nil || err2 != nil {
			t.Errorf("Generation = %q, %v; Explain = %q, %v; want %q", generation, err, console, err2, want)
		}
	}
	if console, err := c.Explain(t.Context(), "i-unknown"); console != "" || err != nil {
		t.Errorf("of an unknown machine: %q, %v", console, err)
	}
}
