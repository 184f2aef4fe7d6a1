package pool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
)

// fleet starts a pool of n instances, each with sessions.
func fleet(t *testing.T, n int, opts fake.CloudOptions, test func(t *testing.T, r *rig, m *pool.Manager, ids []string)) {
	t.Helper()
	inBubble(t, opts, func(c *pool.Config) { c.MinInstances, c.MaxInstances = n, n }, func(t *testing.T, r *rig) {
		m := r.start()
		r.within(2*time.Minute, "all serve", func() bool { return strings.Count(r.states(), "ready") == n })
		r.place(n * slots)
		var ids []string
		for _, in := range r.instances() {
			ids = append(ids, in.ID)
		}
		test(t, r, m, ids)
	})
}

func (r *rig) sickenAll(ids []string, err error) {
	for _, id := range ids {
		r.sicken(id, err)
	}
}

func TestFault59CutOffManagerGivesNobodyUp(t *testing.T) {
	for _, trouble := range []error{errHangs, errors.New("no route to host")} {
		t.Run(trouble.Error(), func(t *testing.T) {
			fleet(t, 10, fake.CloudOptions{}, func(t *testing.T, r *rig, m *pool.Manager, ids []string) {
				r.sickenAll(ids[:7], trouble)
				r.within(time.Minute, "it is told", func() bool { return m.Stats().CutOff })
				time.Sleep(2 * time.Hour)
				if s := m.Stats(); s.InstancesLost != 0 || !s.CutOff {
					t.Fatalf("%+v", s)
				}
				r.cloud.Interrupt(ids[0]) // of this one the cloud says what happened
				r.within(15*time.Second, "that one is lost", func() bool { return m.Stats().InstancesLost == 1 })
				// The network heals. The instances that are probed last are not lost.
				r.sickenAll(ids, nil)
				r.within(30*time.Second, "it is told", func() bool { return !m.Stats().CutOff })
				time.Sleep(10 * time.Minute)
				if s := m.Stats(); s.InstancesLost != 1 || s.CutOff {
					t.Errorf("%+v", s)
				}
				r.sicken(ids[1], trouble)
				r.within(90*time.Second, "one that fails alone is lost", func() bool { return m.Stats().InstancesLost == 2 })
			})
		})
	}
}

func TestFault59SomeThatStayAwayAreLostAfterwards(t *testing.T) {
	fleet(t, 10, fake.CloudOptions{}, func(t *testing.T, r *rig, m *pool.Manager, ids []string) {
		r.sickenAll(ids, errHangs)
		time.Sleep(10 * time.Minute)
		r.sickenAll(ids[2:], nil)
		r.within(30*time.Second, "it is told", func() bool { return !m.Stats().CutOff })
		if m.Stats().InstancesLost != 0 {
			t.Error("they had no second chance")
		}
		r.within(100*time.Second, "two are lost", func() bool { return m.Stats().InstancesLost == 2 })
	})
}

// TestFault59SmallPoolsHaveNoBreaker: in pools of one and of two, instances that do not answer are lost.
func TestFault59SmallPoolsHaveNoBreaker(t *testing.T) {
	for n := 1; n <= 2; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			fleet(t, n, fake.CloudOptions{}, func(t *testing.T, r *rig, m *pool.Manager, ids []string) {
				r.sickenAll(ids, errHangs)
				r.within(90*time.Second, "they are lost", func() bool { return int(m.Stats().InstancesLost) == n })
				r.within(90*time.Second, "they are replaced", func() bool {
					return strings.Count(r.states(), "ready") == n && !slices.Contains(ids, r.instances()[0].ID)
				})
			})
		})
	}
}

// viewCloud lists only a part of the machines.
type viewCloud struct {
	*fake.Cloud
	shows func(m pool.Machine) bool
}

func (c *viewCloud) List(ctx context.Context) ([]pool.Machine, error) {
	all, err := c.Cloud.List(ctx)
	return slices.DeleteFunc(all, func(m pool.Machine) bool { return !c.shows(m) }), err
}

// TestFault66ListThatLacksManyIsDoubted gets the list of another account, and then one that lacks a zone.
func TestFault66ListThatLacksManyIsDoubted(t *testing.T) {
	for name, lacks := range map[string]int{"all": 10, "a zone": 4} {
		t.Run(name, func(t *testing.T) {
			fleet(t, 10, fake.CloudOptions{}, func(t *testing.T, r *rig, _ *pool.Manager, ids []string) {
				r.stop()
				r.cfg.Cloud = &viewCloud{r.cloud, func(m pool.Machine) bool { return !slices.Contains(ids[:lacks], m.LaunchID) }}
				m := r.start() // it knows nothing of earlier lists
				time.Sleep(3 * time.Hour)
				if s := m.Stats(); s.InstancesLost != 0 || !s.ListDoubted || !strings.Contains(r.logs(), "lacks many instances") {
					t.Fatalf("%+v", s)
				}
				r.sickenAll(ids[:lacks], errHangs) // now nothing speaks for them
				r.within(2*time.Minute, "they are lost", func() bool { return int(m.Stats().InstancesLost) == lacks })
			})
		})
	}
}

// TestListThatLacksAllForAMoment: no instance is lost within twice the grace time, although the engines do not answer
// either.
func TestListThatLacksAllForAMoment(t *testing.T) {
	fleet(t, 4, fake.CloudOptions{}, func(t *testing.T, r *rig, _ *pool.Manager, ids []string) {
		hidden := &hidingCloud{Cloud: r.cloud}
		r.stop()
		r.cfg.Cloud = hidden
		m := r.start()
		hidden.hide(true)
		r.sickenAll(ids, errHangs)
		time.Sleep(9*time.Minute + 30*time.Second)
		if s := m.Stats(); s.InstancesLost != 0 || !s.ListDoubted {
			t.Fatalf("%+v", s)
		}
		hidden.hide(false)
		r.sickenAll(ids, nil)
		time.Sleep(20 * time.Minute)
		if s := m.Stats(); s.InstancesLost != 0 || s.ListDoubted {
			t.Fatalf("%+v", s)
		}
		hidden.hide(true)
		r.sickenAll(ids, errHangs)
		r.within(11*time.Minute, "they are lost", func() bool { return m.Stats().InstancesLost == 4 })
	})
}

// TestFault60StoreThatIsNewTouchesNothing starts a pool with an empty store while machines of the lost store run.
func TestFault60StoreThatIsNewTouchesNothing(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances = 9; c.MinInstances = 1 }, func(t *testing.T, r *rig) {
		for i := range 3 {
			r.plant(fmt.Sprint("lost-", i), "uid-of-the-lost-store")
		}
		m := r.start()
		time.Sleep(6 * time.Hour)
		if s := m.Stats(); s.Foreign != 3 || s.UnknownMachines != 0 || s.UnknownMachinesEnded != 0 {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(r.logs(), "the identity of another store"); n != 1 {
			t.Errorf("it was logged %d times", n)
		}
		if r.want("ready"); r.cloud.Alive() != 4 {
			t.Errorf("%d machines are alive", r.cloud.Alive())
		}
	})
}
