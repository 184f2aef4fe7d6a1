package pool_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

func upTo(n int) func(*pool.Config) { return func(c *pool.Config) { c.MaxInstances = n } }

// busyPool starts a pool with one instance that has three sessions, and returns its ID.
func (r *rig) busyPool() (m *pool.Manager, id string) {
	r.t.Helper()
	r.wait(3)
	m = r.start()
	r.withinStates(time.Minute, "ready")
	r.wait(0)
	r.place(3)
	return m, r.one().ID
}

// told returns the changes of an instance that OnChange was called with, with the outlook.
func (r *rig) told(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.byInstance[id], " ")
}

// by returns the record of an instance, or an empty one.
func (r *rig) by(id string) *store.Instance {
	for _, in := range r.instances() {
		if in.ID == id {
			return in
		}
	}
	return &store.Instance{}
}

func TestFault24RetiringMachineIsDrained(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, upTo(2), func(t *testing.T, r *rig) {
		_, id := r.busyPool()
		r.cloud.Foretell(id, pool.OutlookRetiring, "instance-retirement on Friday")
		r.withinStates(20*time.Second, "cordoned")
		if in := r.one(); !in.Drain || !strings.Contains(in.Reason, "instance-retirement on Friday") {
			t.Errorf("it is %+v", in)
		}
		time.Sleep(12 * time.Hour)
		r.want("cordoned") // its sessions have their time
		r.releaseAll()
		r.withinStates(time.Minute, "")
	})
}

func TestFault25ImpairedMachineIsDrainedAfterAWhile(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, upTo(2), func(t *testing.T, r *rig) {
		m, id := r.busyPool()
		r.cloud.Foretell(id, pool.OutlookImpaired, "reachability failed")
		time.Sleep(110 * time.Second)
		r.want("ready")
		r.cloud.Foretell(id, pool.OutlookGood, "")
		time.Sleep(20 * time.Second)
		r.cloud.Foretell(id, pool.OutlookImpaired, "reachability failed")
		time.Sleep(110 * time.Second)
		r.want("ready") // it began anew
		r.withinStates(30*time.Second, "cordoned")
		if m.Stats().InstancesLost != 0 {
			t.Error("it was given up although it answers")
		}
		r.sicken(id, errors.New("no route to host"))
		r.within(time.Minute, "it is lost", func() bool { return m.Stats().InstancesLost == 1 })
	})
}

func TestFault26InterruptionIsToldAndReplacedAtOnce(t *testing.T) {
	for name, foretell := range map[string]func(r *rig, id string){
		"by the cloud": func(r *rig, id string) { r.cloud.Reclaim(id, 2*time.Minute) },
		"by its host": func(r *rig, id string) {
			r.sicken(id, &pool.OutlookError{Outlook: pool.OutlookInterrupted, Reason: "Server.SpotInstanceInterruption"})
			time.AfterFunc(2*time.Minute, func() { r.cloud.Interrupt(id) })
		},
		"while the store loses its replies": func(r *rig, id string) {
			r.store.set(func(s *lossyStore) { s.lose = 1e6 })
			time.AfterFunc(time.Minute, func() { r.store.set(func(s *lossyStore) { s.lose = 0 }) })
			r.cloud.Reclaim(id, 2*time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, upTo(2), func(t *testing.T, r *rig) {
				m, id := r.busyPool()
				foretell(r, id)
				r.within(13*time.Second, "it takes no more sessions", func() bool { return r.by(id).State == store.InstanceCordoned })
				if in := r.by(id); !in.Drain || in.Outlook != string(pool.OutlookInterrupted) || in.Sessions != 3 {
					t.Errorf("it is %+v", in)
				}
				r.withinStates(10*time.Second, "cordoned ready")
				if m.Stats().Interruptions != 1 || m.Stats().ProbeFailures != 0 {
					t.Errorf("%+v", m.Stats())
				}
				r.within(3*time.Minute, "it is gone", func() bool { return r.by(id).ID == "" })
				r.want("ready")
				if got := r.told(id); got != "launching booting ready cordoned/interrupted lost/interrupted gone/interrupted" {
					t.Errorf("what was told: %s", got)
				}
				last := r.reasons[len(r.reasons)-1]
				if !strings.Contains(last, "SpotInstanceInterruption") || !strings.Contains(last, "SpotInstanceTermination") {
					t.Errorf("the last reason was %q", last)
				}
				if n := r.cloud.Launches(); n != 2 {
					t.Errorf("%d machines were started", n)
				}
			})
		})
	}
}

func TestFault27RebalanceIsAnAdvice(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, upTo(2), func(t *testing.T, r *rig) {
		m, id := r.busyPool()
		r.cloud.Foretell(id, pool.OutlookRebalance, "")
		r.withinStates(20*time.Second, "cordoned")
		r.wait(1) // the next session goes elsewhere
		m.Wake()
		r.withinStates(20*time.Second, "cordoned ready")
		if other, _ := r.placeOne(); other == "" || other == id {
			t.Errorf("it was placed on %q", other)
		}
		r.wait(0)
		time.Sleep(12 * time.Hour)
		r.want("cordoned ready") // nothing is ended for an advice
		r.cloud.Foretell(id, pool.OutlookGood, "")
		r.withinStates(20*time.Second, "ready ready")
		if in := r.by(id); in.Outlook != "" || in.Drain || in.Sessions != 3 {
			t.Errorf("it is %+v", in)
		}
		r.cloud.Foretell(id, pool.OutlookRebalance, "")
		r.withinStates(20*time.Second, "cordoned ready")
		r.releaseAll()
		r.within(time.Minute, "it is gone", func() bool { return r.by(id).ID == "" })
	})
}

// TestFault27PoolWithoutRoomWorksOn gives the advice to a pool that cannot follow it.
func TestFault27PoolWithoutRoomWorksOn(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, nil, func(t *testing.T, r *rig) {
		m, id := r.busyPool()
		r.cloud.Foretell(id, pool.OutlookRebalance, "")
		r.withinStates(20*time.Second, "cordoned")
		r.wait(1)
		m.Wake()
		r.withinStates(5*time.Second, "ready")
		if got, _ := r.placeOne(); got != id {
			t.Errorf("it was placed on %q", got)
		}
		r.wait(0)
		m.Wake()
		r.withinStates(20*time.Second, "cordoned") // not at once: what waits may be none any more because it was taken back
	})
}

// TestFault28NoNoticeAtAll ends a machine without a notice: the end alone is enough.
func TestFault28NoNoticeAtAll(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, upTo(2), func(t *testing.T, r *rig) {
		m, id := r.busyPool()
		r.cloud.Vanish(id)
		r.within(time.Minute, "it is lost", func() bool { return m.Stats().InstancesLost == 1 })
		r.wait(3)
		m.Wake()
		r.within(20*time.Second, "another serves", func() bool { return strings.Contains(r.states(), "ready") })
	})
}
