package pool_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// lagging is a cloud whose list is of no help, because it lags behind for minutes.
var lagging = fake.CloudOptions{ListLag: 2 * time.Minute}

func minOne(c *pool.Config) { c.MinInstances = 1 }

// wantOneLaunch checks that only one machine was started, and that it serves.
func (r *rig) wantOneLaunch() {
	r.t.Helper()
	r.withinStates(4*time.Minute, "ready")
	if n := r.cloud.Launches(); n != 1 {
		r.t.Errorf("%d machines were started", n)
	}
}

func TestFault01CrashBetweenLaunchAndRecord(t *testing.T) {
	for name, moment := range map[string]func(r *rig){
		"after the intent was stored": func(r *rig) { r.cloud.Hang(fake.Prepare) },
		"before the cloud heard":      func(r *rig) { r.cloud.Hang(fake.Launch) },
		"after the cloud had started": func(r *rig) { r.cloud.Next(fake.Launch, 1, fake.Fault{HangAfter: true}) },
	} {
		for list, opts := range map[string]fake.CloudOptions{"with a list that lags": lagging, "with a list": {}} {
			t.Run(name+" "+list, func(t *testing.T) {
				inBubble(t, opts, minOne, func(t *testing.T, r *rig) {
					moment(r)
					r.start()
					time.Sleep(10 * time.Second)
					r.want("launching")
					r.stop() // the process dies here
					r.cloud.Heal()
					r.cloud.SetImage("image-2")
					r.start()
					r.wantOneLaunch()
				})
			})
		}
	}
}

func TestFault02LaunchReplyIsLost(t *testing.T) {
	inBubble(t, lagging, minOne, func(t *testing.T, r *rig) {
		r.cloud.LoseLaunches(3)
		r.start()
		r.wantOneLaunch()
		if n := r.cloud.Calls(fake.Launch); n != 4 {
			t.Errorf("the cloud was asked %d times", n)
		}
	})
}

func TestFault02LaunchTimesOut(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		r.cloud.Next(fake.Launch, 1, fake.Fault{HangAfter: true})
		r.start()
		time.Sleep(time.Minute) // the list has it, and the call still hangs
		r.wantOneLaunch()
	})
}

func TestFault03ReplayKeepsTheRequest(t *testing.T) {
	inBubble(t, lagging, minOne, func(t *testing.T, r *rig) {
		r.cloud.LoseLaunches(1)
		r.start()
		time.Sleep(300 * time.Millisecond) // another image, and another replica with another configuration
		r.stop()
		r.cloud.SetImage("image-2")
		r.cfg.InstanceType = "another"
		r.start()
		r.wantOneLaunch()
	})
}

func TestFault04LaunchIsOver(t *testing.T) {
	inBubble(t, lagging, minOne, func(t *testing.T, r *rig) {
		r.cloud.LoseLaunches(1)
		r.start()
		time.Sleep(300 * time.Millisecond)
		first := r.one().ID
		r.cloud.Vanish(first)
		r.withinStates(4*time.Minute, "ready")
		if second := r.one().ID; second == first || r.cloud.Launches() != 2 {
			t.Errorf("the launch %s was followed by %s; %d machines were started", first, second, r.cloud.Launches())
		}
	})
}

func TestFault05StoreFailsAfterALaunch(t *testing.T) {
	for name, fault := range map[string]func(s *lossyStore){
		"it is down":                 func(s *lossyStore) { s.down = errors.New("no route to the store") },
		"it hangs":                   func(s *lossyStore) { s.hung = true },
		"its reply is lost":          func(s *lossyStore) { s.lose = 100 },
		"the outcome is not known":   func(s *lossyStore) { s.drop = 3 },
		"the write of it is refused": func(s *lossyStore) { s.failIf = func([]store.Key) bool { return true } },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, lagging, minOne, func(t *testing.T, r *rig) {
				var broken atomic.Bool
				r.cfg.Cloud = launchHook{r.cloud, func() {
					if broken.CompareAndSwap(false, true) {
						r.store.set(fault)
					}
				}}
				r.start()
				time.Sleep(10 * time.Second)
				r.store.set(func(s *lossyStore) { s.down, s.hung, s.lose, s.drop, s.failIf = nil, false, 0, 0, nil })
				r.withinStates(3*time.Minute, "ready")
				if n := r.cloud.Launches(); n != 1 {
					t.Errorf("%d machines were started", n)
				}
			})
		})
	}
}

// launchHook calls a function after each launch.
type launchHook struct {
	*fake.Cloud
	launched func()
}

func (h launchHook) Launch(ctx context.Context, id string, f pool.Frozen) (pool.Machine, error) {
	m, err := h.Cloud.Launch(ctx, id, f)
	h.launched()
	return m, err
}

func TestLaunchIntentWithAnUnknownOutcome(t *testing.T) {
	for name, fault := range map[string]func(s *lossyStore){
		"it was stored":     func(s *lossyStore) { s.lose = 1 },
		"it was not stored": func(s *lossyStore) { s.drop = 1 },
		"nor the request":   func(s *lossyStore) { s.lose, s.drop = 1, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
				r.store.set(fault)
				r.start()
				r.wantOneLaunch()
			})
		})
	}
}

func TestLaunchThatWasGivenUpAndAppearsLater(t *testing.T) {
	inBubble(t, fake.CloudOptions{ListLag: 9 * time.Minute}, minOne, func(t *testing.T, r *rig) {
		r.cloud.LoseLaunches(1)
		r.cloud.Next(fake.Launch, 100, fake.Fault{Hang: true})
		r.start()
		time.Sleep(5*time.Minute + 30*time.Second)
		r.withinStates(time.Minute, "terminating")
		r.cloud.Heal()
		if r.cloud.Alive() != 1 {
			t.Fatal("its machine should be there")
		}
		r.within(10*time.Minute, "its machine is ended", func() bool { return r.cloud.Alive() == 0 })
		if r.cloud.Launches() != 1 {
			t.Error("another was launched while it may have been there")
		}
	})
}

// TestLaunchOfUnknownOutcomeThatIsRefusedLater loses the reply to a launch that gave a machine. The error of the repeated
// call proves nothing about that machine.
func TestLaunchOfUnknownOutcomeThatIsRefusedLater(t *testing.T) {
	for _, refusal := range []error{pool.ErrCapacity, pool.ErrQuota, pool.ErrAuth, pool.ErrPermanent} {
		t.Run(refusal.Error(), func(t *testing.T) {
			inBubble(t, lagging, minOne, func(t *testing.T, r *rig) {
				r.cloud.LoseLaunches(1)
				r.cloud.FailLaunches(3, refusal)
				r.start()
				time.Sleep(time.Minute)
				if r.cloud.Launches() != 1 {
					t.Error("another was launched beside it")
				}
				r.within(9*time.Minute, "one serves, and no other costs money", func() bool {
					return r.states() == "ready" && r.cloud.Alive() == 1
				})
			})
		})
	}
}

func TestLaunchThatCannotBePrepared(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		r.cloud.Fail(fake.Prepare, 1, errors.New("no such image"))
		m := r.start()
		synctest.Wait()
		time.Sleep(time.Second)
		r.want("")
		if p := r.pool(); p.LaunchFailures != 1 || m.Stats().LaunchFailures != 1 {
			t.Errorf("%d failures are stored, %d counted", p.LaunchFailures, m.Stats().LaunchFailures)
		}
		if !strings.Contains(r.log(), "no such image") {
			t.Errorf("the log does not say why: %s", r.log())
		}
		r.withinStates(time.Minute, "ready")
		if p := r.pool(); p.LaunchFailures != 0 || !p.LaunchAfter.IsZero() {
			t.Errorf("a launch that succeeded left %d failures, a pause until %v", p.LaunchFailures, p.LaunchAfter)
		}
	})
}

func TestThrottledLaunchKeepsItsID(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		r.cloud.Fail(fake.Prepare, 2, pool.ErrThrottled)
		r.cloud.FailLaunches(4, pool.ErrThrottled)
		m := r.start()
		time.Sleep(2 * time.Second)
		r.want("launching")
		first := r.one().ID
		r.wantOneLaunch()
		if r.one().ID != first || m.Stats().LaunchFailures != 0 {
			t.Errorf("it was made anew, or counted as a failure: %+v", m.Stats())
		}
	})
}
