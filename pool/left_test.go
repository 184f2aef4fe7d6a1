package pool_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// lyingCloud is a cloud that changes its list.
type lyingCloud struct {
	*fake.Cloud
	lie func([]pool.Machine) []pool.Machine
}

func (c lyingCloud) List(ctx context.Context) ([]pool.Machine, error) {
	all, err := c.Cloud.List(ctx)
	return c.lie(all), err
}

// TestListThatLies: an instance in use survives a list that shows it twice, without tags, without a UID, in an unknown state,
// or beside machines without an ID.
func TestListThatLies(t *testing.T) {
	each := func(change func(*pool.Machine)) func([]pool.Machine) []pool.Machine {
		return func(all []pool.Machine) []pool.Machine {
			for i := range all {
				change(&all[i])
			}
			return all
		}
	}
	for name, lie := range map[string]func([]pool.Machine) []pool.Machine{
		"twice": func(all []pool.Machine) []pool.Machine { return append(all, all...) },
		"twice, and once as ended": func(all []pool.Machine) []pool.Machine {
			ended := slices.Clone(all)
			for i := range ended {
				ended[i].State = pool.MachineEnded
			}
			return append(ended, all...)
		},
		"without tags":       each(func(m *pool.Machine) { m.LaunchID, m.PoolUID = "", "" }),
		"another's identity": each(func(m *pool.Machine) { m.PoolUID = "?" }),
		"an unknown state":   each(func(m *pool.Machine) { m.State = "frobnicated" }),
		"without a cloud ID": func(all []pool.Machine) []pool.Machine {
			return append(all, pool.Machine{PoolUID: "uid-1", State: pool.MachineRunning}, pool.Machine{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
				var lying atomic.Bool
				r.cfg.Cloud = lyingCloud{r.cloud, func(all []pool.Machine) []pool.Machine {
					if lying.Load() {
						return lie(all)
					}
					return all
				}}
				r.start()
				r.withinStates(time.Minute, "ready")
				id := r.one().ID
				lying.Store(true)
				time.Sleep(time.Hour)
				if r.states() != "ready" || r.one().ID != id || r.cloud.Launches() != 1 {
					t.Errorf("the instances are %q; %d machines were started", r.states(), r.cloud.Launches())
				}
			})
		})
	}
}

// TestRefusalThatHadAnEffect: the cloud has started a machine and denied it. The machine is ended as soon as the list shows
// it, while the pool has no room for another.
func TestRefusalThatHadAnEffect(t *testing.T) {
	inBubble(t, fake.CloudOptions{Instant: true}, minOne, func(t *testing.T, r *rig) {
		r.cloud.Next(fake.Launch, 1, fake.Fault{After: pool.ErrCapacity})
		m := r.start()
		time.Sleep(5 * time.Millisecond) // the cloud is asked again after 10 ms
		if r.cloud.Alive() != 1 || r.states() != "" {
			t.Fatalf("%d machines are alive, the instances are %q", r.cloud.Alive(), r.states())
		}
		if left, err := pool.NewManager(r.cfg).Left(t.Context()); err != nil || len(left) != 2 {
			t.Errorf("Left = %q, %v; want the machine and the launch", left, err)
		}
		r.withinStates(time.Minute, "ready")
		if r.cloud.Alive() != 1 {
			t.Errorf("%d machines are alive", r.cloud.Alive())
		}
		time.Sleep(10 * time.Minute)
		if left, err := m.Left(t.Context()); err != nil || len(left) != 0 {
			t.Errorf("afterwards, Left = %q, %v", left, err)
		}
	})
}

// TestReasonOfALaunchIsStored: for every answer of the cloud, sessions that wait for an instance learn why there is none,
// before the launch is given up.
func TestReasonOfALaunchIsStored(t *testing.T) {
	for name, cause := range map[string]error{
		"capacity": pool.ErrCapacity, "rights": pool.ErrAuth, "throttled": pool.ErrThrottled, "over": pool.ErrLaunchOver,
		"request": pool.ErrPermanent, "an unknown code": errors.New("ec2:RunInstances: FlubberExceeded: no more flubber"),
	} {
		for _, verb := range []fake.Verb{fake.Prepare, fake.Launch} {
			t.Run(name+" by "+string(verb), func(t *testing.T) {
				inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
					r.cloud.Fail(verb, 1000, cause)
					r.start()
					time.Sleep(20 * time.Second)
					if told := r.pool().LaunchFailure; !strings.Contains(told, cause.Error()) {
						t.Errorf("after 20 s the reason is %q, want %q in it", told, cause)
					}
					time.Sleep(10 * time.Minute) // it is given up, and others follow
					if told := r.pool().LaunchFailure; !strings.Contains(told, cause.Error()) {
						t.Errorf("after 10 min the reason is %q, want %q in it", told, cause)
					}
					r.cloud.Heal()
					r.withinStates(10*time.Minute, "ready")
					if told := r.pool().LaunchFailure; told != "" {
						t.Errorf("once one is ready, the reason is %q", told)
					}
				})
			})
		}
	}
}

// TestReasonOfAFreezeIsStored: nothing is launched because the cloud refuses the list, and sessions that wait learn that.
func TestReasonOfAFreezeIsStored(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, nil, func(t *testing.T, r *rig) {
		r.cloud.Fail(fake.ListMachines, 10000, errors.Join(pool.ErrAuth, errors.New("the token has expired")))
		r.wait(1)
		r.start()
		time.Sleep(20 * time.Second)
		if told := r.pool().LaunchFailure; !strings.Contains(told, "the token has expired") {
			t.Errorf("the reason is %q", told)
		}
		r.wait(0)
		r.cloud.Heal()
		r.within(5*time.Minute, "it is taken back", func() bool { return r.pool().LaunchFailure == "" })
	})
}

// TestDoubtsAreFew: a pool that cannot launch for days remembers only its last launches.
func TestDoubtsAreFew(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		r.cloud.FailLaunches(10000, pool.ErrCapacity)
		var doubts []store.Doubt
		r.start()
		time.Sleep(24 * time.Hour)
		if doubts = r.pool().Doubts; len(doubts) == 0 || len(doubts) > 20 {
			t.Errorf("%d launches are remembered", len(doubts))
		}
	})
}
