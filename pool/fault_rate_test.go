package pool_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// countingCloud records when machines are launched, and with which IDs.
type countingCloud struct {
	*fake.Cloud
	mu       sync.Mutex
	launched []time.Time    // when Launch was called
	ids      map[string]int // how often with each ID
}

func (c *countingCloud) Launch(ctx context.Context, id string, f pool.Frozen) (pool.Machine, error) {
	c.mu.Lock()
	if c.ids == nil {
		c.ids = make(map[string]int)
	}
	c.launched = append(c.launched, time.Now())
	c.ids[id]++
	c.mu.Unlock()
	return c.Cloud.Launch(ctx, id, f)
}

// most returns the highest number of launches in any period of a length.
func (c *countingCloud) most(length time.Duration) (most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := 0
	for i, at := range c.launched {
		for at.Sub(c.launched[first]) >= length {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// calls counts all calls to the cloud.
func calls(c *fake.Cloud) (n int) {
	for _, v := range []fake.Verb{fake.Prepare, fake.Launch, fake.ListMachines, fake.Terminate, fake.Generation, fake.Explain} {
		n += c.Calls(v)
	}
	return n
}

func TestFault71StormKeepsToItsBounds(t *testing.T) { scenario(storm).check(t) }

// storm makes a thousand launches while machines end as fast as they come.
func storm(t *testing.T) (figures []figure) {
	inBubble(t, fake.CloudOptions{}, upTo(30), func(t *testing.T, r *rig) {
		counting := &countingCloud{Cloud: r.cloud}
		r.cfg.Cloud = counting
		r.wait(100000)
		r.plant("orphan", "uid-1") // it costs money, too
		m := r.start()
		most := 0 // instances or machines at once
		for r.cloud.Launches() < 1000 {
			if r.passed() > 2*time.Hour {
				t.Fatalf("only %d machines were started", r.cloud.Launches())
			}
			time.Sleep(10 * time.Second)
			all := r.instances()
			most = max(most, r.cloud.Alive(), len(all))
			for i, in := range all {
				if i%3 == 0 && in.State == store.InstanceReady {
					r.cloud.Interrupt(in.ID)
				}
			}
		}
		uses := 0 // of one launch ID
		for _, n := range counting.ids {
			uses = max(uses, n)
		}
		if n := counting.most(time.Minute); n < 50 || most < 30 {
			t.Errorf("%d launches in a minute and %d instances at most: it is no storm", n, most)
		}
		t.Logf("1,000 launches took %v; %+v", r.passed(), m.Stats())
		figures = []figure{
			{float64(max(most, r.cloud.MaxAlive())), "instances", 30}, {float64(counting.most(time.Minute)), "launches/min", 65},
			{float64(counting.most(time.Second)), "launches/s", 6}, {float64(uses), "uses/token", 1},
		}
	})
	return figures
}

func TestLaunchRateCanBeTurnedOff(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MinInstances, c.MaxInstances, c.LaunchRate = 50, 50, -1 }, func(t *testing.T, r *rig) {
		r.start()
		time.Sleep(10 * time.Second)
		if n := r.cloud.Launches(); n != 50 {
			t.Errorf("%d machines were started", n)
		}
	})
}

func TestFault34ThrottledCallsBackOff(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, upTo(10), func(t *testing.T, r *rig) {
		counting := &countingCloud{Cloud: r.cloud}
		r.cfg.Cloud = counting
		m := r.start()
		time.Sleep(time.Minute)
		before := calls(r.cloud)
		r.cloud.Refuse(pool.ErrThrottled)
		r.wait(100)
		m.Wake()
		time.Sleep(time.Hour)
		if n := calls(r.cloud) - before; n > 200 {
			t.Errorf("a cloud that asked for fewer calls was called %d times in an hour", n)
		}
		if s := m.Stats(); s.Throttled == 0 || s.Frozen != "" {
			t.Errorf("%+v", s)
		}
		r.cloud.Heal()
		r.within(12*time.Minute, "all serve", func() bool { return strings.Count(r.states(), "ready") == 10 })
		for id, n := range counting.ids {
			if n > 40 {
				t.Errorf("%s was used %d times", id, n)
			}
		}
	})
}

// TestFault34ShortThrottlingIsNoFailure throttles a storm for 43 s, as EC2 has been seen to do.
func TestFault34ShortThrottlingIsNoFailure(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, upTo(20), func(t *testing.T, r *rig) {
		r.wait(200)
		m := r.start()
		time.Sleep(2 * time.Second)
		r.cloud.Refuse(pool.ErrThrottled)
		time.Sleep(43 * time.Second)
		r.cloud.Refuse(nil)
		r.within(3*time.Minute, "all serve", func() bool { return strings.Count(r.states(), "ready") == 20 })
		if s := m.Stats(); s.LaunchFailures != 0 || s.InstancesLost != 0 || s.Throttled == 0 || r.cloud.Launches() != 20 {
			t.Errorf("%+v, %d machines were started", s, r.cloud.Launches())
		}
	})
}

func TestFault30NoCapacityIsTriedAgain(t *testing.T) {
	inBubble(t, fake.CloudOptions{Capacity: 1}, upTo(3), func(t *testing.T, r *rig) {
		r.wait(30)
		m := r.start()
		time.Sleep(time.Hour)
		if s := m.Stats(); strings.Count(r.states(), "ready") != 1 || s.LaunchFailures < 10 || s.LaunchFailures > 25 {
			t.Errorf("%q; %+v", r.states(), s)
		}
		r.cloud.SetCapacity(-1)
		r.within(6*time.Minute, "all serve", func() bool { return r.states() == "ready ready ready" })
	})
}

func TestBudgetOfAnIdlePool(t *testing.T) { scenario(idlePool).check(t) }

// idlePool counts the calls that a pool of a hundred idle instances makes.
func idlePool(t *testing.T) (figures []figure) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) {
		c.MinInstances, c.MaxInstances = 100, 100
		c.ProbeInterval = time.Minute // no call to the cloud
	}, func(t *testing.T, r *rig) {
		r.cloud.SetGeneration("1")
		r.start()
		time.Sleep(3 * time.Minute)
		if n := strings.Count(r.states(), "ready"); n != 100 {
			t.Fatalf("%d of 100 serve", n)
		}
		before := calls(r.cloud)
		time.Sleep(time.Hour)
		n := calls(r.cloud) - before
		if n < 300 {
			t.Errorf("%d calls in an hour: it does not look any more", n)
		}
		figures = []figure{{float64(n), "calls/h", 400}}
	})
	return figures
}
