package pool_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

func graceOfHalfAnHour(c *pool.Config) {
	c.MaxInstances, c.MinInstances, c.ForeignGrace = 2, 1, 30*time.Minute
}

// ofStore returns how many machines a store has.
func (r *rig) ofStore(prefix string) (n int) {
	for _, m := range r.cloud.Machines() {
		if strings.HasPrefix(m.LaunchID, prefix) && m.Ended.IsZero() {
			n++
		}
	}
	return n
}

// TestFault60LostStore: if no other store has the pool's name, the machines of a lost store count until the grace time is
// over. Then they are ended.
func TestFault60LostStore(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, graceOfHalfAnHour, func(t *testing.T, r *rig) {
		foreign := r.cloud.PlantForeign()
		for i := range 2 {
			r.plant(fmt.Sprint("lost-", i), "uid-of-the-lost-store")
		}
		time.Sleep(time.Minute)
		m := r.start()
		time.Sleep(29 * time.Minute)
		if s := m.Stats(); s.Foreign != 2 || s.UnknownMachines != 0 || s.ForeignEnded != 0 || r.ofStore("lost-") != 2 || r.states() != "" {
			t.Errorf("before the grace time is over: %+v, %q", s, r.states())
		}
		r.within(3*time.Minute, "they have ended and one of ours serves", func() bool {
			return r.ofStore("lost-") == 0 && r.states() == "ready"
		})
		time.Sleep(time.Hour)
		if s := m.Stats(); s.Foreign != 0 || s.ForeignEnded != 2 || s.UnknownMachinesEnded != 0 || s.Rival {
			t.Errorf("afterwards: %+v", s)
		}
		for _, machine := range r.cloud.Machines() {
			if machine.CloudID == foreign && machine.State != pool.MachineRunning {
				t.Errorf("a machine that has not the pool's name is %s", machine.State)
			}
		}
	})
}

// TestFault60StoreInUse: a store that launches machines is not lost, even if the configuration says so.
func TestFault60StoreInUse(t *testing.T) {
	roomy := func(c *pool.Config) {
		graceOfHalfAnHour(c)
		c.MaxInstances = 3
	}
	inBubble(t, fake.CloudOptions{}, roomy, func(t *testing.T, r *rig) {
		r.plant("other-0", "uid-of-another-store")
		m := r.start()
		time.Sleep(10 * time.Minute)
		r.plant("other-1", "uid-of-another-store")
		time.Sleep(time.Hour)
		if s := m.Stats(); s.Foreign != 2 || s.ForeignEnded != 0 || !s.Rival || r.ofStore("other-") != 2 {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(r.logs(), "another store that is in use"); n != 1 {
			t.Errorf("it was logged %d times", n)
		}
		r.stop() // the next planner has not seen it come
		m = r.start()
		time.Sleep(time.Hour)
		if s := m.Stats(); s.Foreign != 2 || s.ForeignEnded != 0 || !s.Rival || r.ofStore("other-") != 2 {
			t.Errorf("after a takeover: %+v", s)
		}
	})
}

// TestFault60StoreWithoutAPool empties the store under a Manager, which then does not know its own UID any more.
func TestFault60StoreWithoutAPool(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, graceOfHalfAnHour, func(t *testing.T, r *rig) {
		m := r.start()
		r.within(time.Minute, "one serves", func() bool { return r.states() == "ready" })
		r.empty()
		time.Sleep(time.Hour)
		if s := m.Stats(); s.ForeignEnded != 0 || s.UnknownMachinesEnded != 0 || r.cloud.Alive() != 1 {
			t.Errorf("%+v; %d machines are alive", s, r.cloud.Alive())
		}
	})
}

// empty removes the pool and its instances from the store.
func (r *rig) empty() {
	r.t.Helper()
	instances := r.instances()
	r.update(func(tx store.Tx) error {
		for _, in := range instances {
			if err := tx.Delete(in.Key()); err != nil {
				return err
			}
		}
		return tx.Delete(store.PoolKey())
	})
}
