package pool_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
)

// waysCloud is a cloud that can launch in several ways. Only the last one may have room. A way that was refused stays closed
// for a while.
type waysCloud struct {
	countingCloud
	ways   int
	window time.Duration
	full   bool  // the last way has no room, either
	cause  error // of a refusal
	closed map[int]time.Time
	tries  map[int][]time.Time // when each way was tried
}

func newWaysCloud(c *fake.Cloud, ways int, cause error) *waysCloud {
	return &waysCloud{
		countingCloud: countingCloud{Cloud: c, ids: map[string]int{}}, ways: ways, window: 3 * time.Minute, cause: cause,
		closed: map[int]time.Time{}, tries: map[int][]time.Time{},
	}
}

// open returns the first way that is open; false = there is none. The caller holds mu.
func (c *waysCloud) open() (int, bool) {
	for way := range c.ways {
		if !time.Now().Before(c.closed[way]) {
			return way, true
		}
	}
	return 0, false
}

func (c *waysCloud) Prepare(ctx context.Context, s pool.Spec) (pool.Frozen, error) {
	c.mu.Lock()
	way, ok := c.open()
	c.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("every way was recently refused: %w", c.cause)
	}
	s.Type = fmt.Sprint("way-", way)
	return c.Cloud.Prepare(ctx, s)
}

func (c *waysCloud) Launch(ctx context.Context, id string, f pool.Frozen) (pool.Machine, error) {
	c.mu.Lock()
	way, ok := c.open()
	refused := way < c.ways-1 || !ok || c.full
	if ok {
		c.tries[way] = append(c.tries[way], time.Now())
	}
	if refused {
		c.closed[way] = time.Now().Add(c.window)
		c.ids[id]++
		c.launched = append(c.launched, time.Now())
	}
	_, left := c.open()
	c.mu.Unlock()
	switch {
	case refused && left:
		return pool.Machine{}, fmt.Errorf("%w; %w", c.cause, pool.ErrAnotherWay)
	case refused:
		return pool.Machine{}, c.cause
	}
	return c.countingCloud.Launch(ctx, id, f)
}

func TestFault30AnotherWayIsTriedAtOnce(t *testing.T) {
	for _, cause := range []error{pool.ErrCapacity, pool.ErrQuota, pool.ErrPermanent} {
		t.Run(cause.Error(), func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
				c := newWaysCloud(r.cloud, 4, cause)
				r.cfg.Cloud = c
				m := r.start()
				took := r.within(time.Minute, "a machine was launched", func() bool { return r.cloud.Launches() == 1 })
				if took > time.Second {
					t.Errorf("three refusals cost %v", took)
				}
				r.withinStates(time.Minute, "ready")
				if p := r.pool(); p.LaunchFailures != 0 || !p.LaunchAfter.IsZero() {
					t.Errorf("%d failures are stored, a pause until %v", p.LaunchFailures, p.LaunchAfter)
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				if s := m.Stats(); s.LaunchFailures != 3 || len(c.ids) != 4 {
					t.Errorf("%d failures, the launch IDs are %v", s.LaunchFailures, c.ids)
				}
			})
		})
	}
}

// TestFault30AnotherWayKeepsTheLaunchRate needs more calls than may be made at once.
func TestFault30AnotherWayKeepsTheLaunchRate(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		c := newWaysCloud(r.cloud, 41, pool.ErrCapacity)
		r.cfg.Cloud = c
		r.start()
		took := r.within(time.Minute, "a machine was launched", func() bool { return r.cloud.Launches() == 1 })
		if took < 35*time.Second || took > 45*time.Second || c.most(time.Second) > 6 {
			t.Errorf("40 refusals cost %v, %d launches in a second", took, c.most(time.Second))
		}
	})
}

// TestFault30EachWayOnceInAWindow refuses all launches for an hour. Each way is tried once in each period for which it is
// closed. When all ways are closed, launches pause.
func TestFault30EachWayOnceInAWindow(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		c := newWaysCloud(r.cloud, 5, pool.ErrCapacity)
		r.cfg.Cloud = c
		c.full = true
		m := r.start()
		time.Sleep(time.Hour)
		c.mu.Lock()
		defer c.mu.Unlock()
		for way, times := range c.tries {
			for i := 1; i < len(times); i++ {
				if apart := times[i].Sub(times[i-1]); apart < c.window {
					t.Errorf("way %d was tried again after %v", way, apart)
				}
			}
		}
		if n := len(c.ids); n > 5*21+20 || len(c.tries) != 5 {
			t.Errorf("%d tries of %d ways in an hour", n, len(c.tries))
		}
		if p := r.pool(); p.LaunchFailures < 5 || m.Stats().LaunchFailures < 30 {
			t.Errorf("%d failures are stored; %+v", p.LaunchFailures, m.Stats())
		}
	})
}

// TestCloudThatAlwaysHasAnotherWay breaks the rule of ErrAnotherWay: launches pause all the same.
func TestCloudThatAlwaysHasAnotherWay(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MinInstances, c.LaunchRate = 1, -1 }, func(t *testing.T, r *rig) {
		r.cloud.FailLaunches(1<<20, errors.Join(pool.ErrCapacity, pool.ErrAnotherWay))
		r.start()
		time.Sleep(time.Hour)
		if n := r.cloud.Calls(fake.Launch); n > 230 {
			t.Errorf("%d launches in an hour", n)
		}
		r.cloud.Heal()
		r.withinStates(6*time.Minute, "ready")
	})
}
