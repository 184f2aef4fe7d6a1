package pool_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

func TestFault11TwoManagersScaleUp(t *testing.T) {
	// For a while, both Managers believe that they hold the lease; the second one does. The first is in the middle of its work.
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances = 3 }, func(t *testing.T, r *rig) {
		r.wait(100)
		r.cloud.Next(fake.Prepare, 3, fake.Fault{Delay: 5 * time.Second})
		first := r.start()
		time.Sleep(time.Second)
		second := r.start()
		r.withinStates(time.Minute, "ready ready ready")
		time.Sleep(5 * time.Minute)
		r.want("ready ready ready")
		if first.Stats().Launches != 0 || second.Stats().Launches != 3 || r.cloud.Launches() != 3 {
			t.Errorf("the first made %+v, the second %+v, %d machines", first.Stats(), second.Stats(), r.cloud.Launches())
		}
	})
}

// TestFault11ManyPlansAtOnce lets several Managers plan under one lease, which should never happen. The count in the store is
// right all the same.
func TestFault11ManyPlansAtOnce(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances = 5 }, func(t *testing.T, r *rig) {
		r.wait(1000)
		// Every plan is made before the first of them is stored.
		r.store.set(func(s *lossyStore) { s.before = func([]store.Key) { time.Sleep(10 * time.Millisecond) } })
		var all sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		held := store.Lease{ID: "planner", Holder: "all", Fence: 1}
		r.put(&held)
		for range 8 {
			all.Go(func() { pool.NewManager(r.cfg).Run(ctx, held) })
		}
		r.withinStates(time.Minute, "ready ready ready ready ready")
		cancel()
		all.Wait()
		if n := r.cloud.Launches(); n != 5 {
			t.Errorf("%d machines were started", n)
		}
	})
}

// TestFencedManagerChangesNothing gives the lease to another process while the Manager still works.
func TestFencedManagerChangesNothing(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances = 3 }, func(t *testing.T, r *rig) {
		r.wait(1)
		m := r.start()
		r.withinStates(time.Minute, "ready")
		r.put(&store.Lease{ID: "planner", Holder: "another", Fence: 2})
		r.wait(30)
		r.cloud.Interrupt(r.one().ID)
		time.Sleep(time.Hour)
		r.want("ready")
		if r.cloud.Launches() != 1 || m.Stats().Errors == 0 {
			t.Errorf("%d machines were started; %+v", r.cloud.Launches(), m.Stats())
		}
	})
}

func TestPoolThatIsClosedAsALaunchBegins(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		r.store.set(func(s *lossyStore) { s.before = func([]store.Key) { r.drain() } })
		r.start()
		time.Sleep(time.Minute)
		r.want("")
		if n := r.cloud.Launches(); n != 0 {
			t.Errorf("%d machines were started", n)
		}
	})
}

func TestFault12PendingInstancesAreSupply(t *testing.T) {
	for name, slow := range map[string]func(r *rig){
		"a slow boot":    func(r *rig) {},
		"a slow request": func(r *rig) { r.cloud.Next(fake.Prepare, 9, fake.Fault{Delay: 30 * time.Second}) },
		"a slow launch":  func(r *rig) { r.cloud.Next(fake.Launch, 9, fake.Fault{Delay: 30 * time.Second}) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, fake.CloudOptions{Boot: time.Minute}, func(c *pool.Config) { c.MaxInstances = 10 }, func(t *testing.T, r *rig) {
				slow(r)
				m := r.start()
				synctest.Wait()
				for i := range 15 { // they come one by one, and each wakes the Manager
					r.wait(i + 1)
					m.Wake()
					time.Sleep(time.Second)
				}
				r.withinStates(2*time.Minute, "ready ready")
				if n := r.place(15); n != 15 {
					t.Fatalf("%d sessions got a slot", n)
				}
				r.wait(0)
				time.Sleep(time.Minute)
				if n := r.cloud.Launches(); n != 2 {
					t.Errorf("15 sessions on instances of %d slots made %d launches", slots, n)
				}
			})
		})
	}
}

func TestFault13LaunchesThatFailAreNotRepeatedForEver(t *testing.T) {
	for name, fail := range map[string]func(r *rig){
		"refused at once":       func(r *rig) { r.cloud.FailLaunches(1000, pool.ErrQuota) },
		"a request that is bad": func(r *rig) { r.cloud.FailLaunches(1000, pool.ErrPermanent) },
		"no request":            func(r *rig) { r.cloud.Fail(fake.Prepare, 1000, errors.New("no such image")) },
		"ended as they boot":    func(r *rig) { r.cloud.EndAtBoot(1000, "Client.InternalError: the key is disabled") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances = 5 }, func(t *testing.T, r *rig) {
				fail(r)
				r.wait(50)
				m := r.start()
				time.Sleep(time.Hour)
				s := m.Stats()
				// 5 at once, then one after 5, 10, 20, 40, 80, 160 s each, and then one every 5 min.
				if s.LaunchFailures < 12 || s.LaunchFailures > 25 {
					t.Errorf("in an hour %d launches failed\n%s", s.LaunchFailures, r.log())
				}
				r.cloud.Heal()
				r.within(6*time.Minute, "one serves", func() bool { return r.pool().LaunchFailures == 0 && r.states() != "" })
				r.withinStates(time.Minute, "ready ready ready ready ready")
			})
		})
	}
}

func TestFault13TheReasonIsTold(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		r.cloud.EndAtBoot(1, "Client.InternalError: the key is disabled")
		r.start()
		// The launch fails when the machine ends, and not only when the time to boot is over.
		r.within(15*time.Second, "the launch failed", func() bool { return r.pool().LaunchFailures == 1 })
		r.withinStates(time.Minute, "ready")
		if len(r.reasons) == 0 || r.reasons[0] != "the cloud says that it is ended: Client.InternalError: the key is disabled" {
			t.Errorf("the reasons were %q", r.reasons)
		}
	})
}

func TestLaunchesThatFailTogetherCountOnce(t *testing.T) {
	inBubble(t, fake.CloudOptions{Capacity: 2}, func(c *pool.Config) { c.MaxInstances, c.MinInstances, c.LaunchBurst = 8, 8, 8 }, func(t *testing.T, r *rig) {
		m := r.start()
		time.Sleep(time.Second)
		if p := r.pool(); p.LaunchFailures != 1 || m.Stats().LaunchFailures != 6 {
			t.Errorf("%d failures in a row after %+v", p.LaunchFailures, m.Stats())
		}
		r.cloud.SetCapacity(-1)
		r.withinStates(time.Minute, "ready ready ready ready ready ready ready ready")
	})
}

func TestFault14NoThrashAtTheEdge(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) {
		c.MaxInstances, c.SpareSlots, c.IdleTimeout = 5, 2, 2*time.Minute
	}, func(t *testing.T, r *rig) {
		r.start()
		r.withinStates(time.Minute, "ready")
		if n := r.place(8); n != 8 {
			t.Fatalf("%d sessions got a slot", n)
		}
		for range 60 { // one session comes and goes, where one more needs another instance
			id, uid := r.placeOne()
			time.Sleep(time.Minute)
			r.release(id, uid)
			time.Sleep(time.Minute)
		}
		if n := r.cloud.Launches(); n != 2 {
			t.Errorf("a session that comes and goes made %d launches in two hours", n)
		}
	})
}

func TestFault15QuietPoolReachesItsMinimum(t *testing.T) {
	for _, least := range []int{0, 2} {
		inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances, c.MinInstances = 6, least }, func(t *testing.T, r *rig) {
			r.wait(55)
			r.start()
			r.withinStates(time.Minute, "ready ready ready ready ready ready")
			if n := r.place(55); n != 55 {
				t.Fatalf("%d sessions got a slot", n)
			}
			r.wait(0)
			time.Sleep(time.Hour)
			r.want("ready ready ready ready ready ready")
			r.releaseAll()
			time.Sleep(10*time.Minute - time.Second)
			r.want("ready ready ready ready ready ready")
			r.within(time.Minute, "the minimum is left", func() bool { return len(r.instances()) == least && r.cloud.Alive() == least })
			time.Sleep(time.Hour)
			if r.cloud.Launches() != 6 {
				t.Errorf("%d machines were started", r.cloud.Launches())
			}
		})
	}
}
