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

func TestFault38GenerationIsRenewedOneByOne(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MinInstances, c.MaxInstances = 3, 4 }, func(t *testing.T, r *rig) {
		r.cloud.SetGeneration("1")
		r.start()
		r.withinStates(time.Minute, "ready ready ready")
		id, uid := r.placeOne()
		time.Sleep(time.Hour)
		r.cloud.SetGeneration("2")
		for begun := time.Now(); time.Since(begun) < 15*time.Minute; time.Sleep(100 * time.Millisecond) {
			if n := strings.Count(r.states(), "ready"); n < 3 {
				t.Fatalf("after %v the instances are %q", time.Since(begun), r.states())
			}
		}
		if in := r.by(id); in.State != store.InstanceCordoned || in.Generation != "1" {
			t.Errorf("the one with a session is %+v", in)
		}
		r.release(id, uid)
		r.withinStates(time.Minute, "ready ready ready")
		r.allOf("2")
		time.Sleep(6 * time.Hour)
		if n := r.cloud.Launches(); n != 6 {
			t.Errorf("%d machines were started", n)
		}
	})
}

// allOf checks that every instance is of a generation.
func (r *rig) allOf(generation string) {
	r.t.Helper()
	for _, in := range r.instances() {
		if in.Generation != generation {
			r.t.Errorf("%s is of generation %q", in.ID, in.Generation)
		}
	}
}

// TestFault38BadGenerationDoesNotEmptyThePool changes to a generation of which no machine boots.
func TestFault38BadGenerationDoesNotEmptyThePool(t *testing.T) {
	for name, most := range map[string]int{"with room": 5, "without": 4} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MinInstances, c.MaxInstances = 4, most }, func(t *testing.T, r *rig) {
				r.cloud.SetGeneration("1")
				r.start()
				r.withinStates(time.Minute, "ready ready ready ready")
				r.cloud.EndAtBoot(10000, "Client.InvalidKernel")
				r.cloud.SetGeneration("2")
				time.Sleep(3 * time.Hour)
				if n := strings.Count(r.states(), "ready"); n < most-1 {
					t.Errorf("the instances are %q", r.states())
				}
				r.cloud.Heal()
				time.Sleep(time.Hour)
				r.want("ready ready ready ready")
				r.allOf("2")
			})
		})
	}
}

func TestGenerationThatCannotBeRead(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, minOne, func(t *testing.T, r *rig) {
		r.cloud.SetGeneration("1")
		m := r.start()
		r.withinStates(time.Minute, "ready")
		r.cloud.Next(fake.Generation, 100, fake.Fault{Before: errors.New("no such parameter")})
		time.Sleep(time.Hour)
		if r.want("ready"); m.Stats().Errors == 0 || r.cloud.Launches() != 1 {
			t.Errorf("%+v, %d machines were started", m.Stats(), r.cloud.Launches())
		}
	})
}

// TestOldInstancesAreReplaced keeps the instances of a storm busy. They are replaced one after another, each after its last
// session.
func TestOldInstancesAreReplaced(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) {
		c.MinInstances, c.MaxInstances, c.MaxAge = 5, 6, 24*time.Hour
	}, func(t *testing.T, r *rig) {
		m := r.start()
		r.withinStates(time.Minute, "ready ready ready ready ready")
		first := r.instances()
		r.place(50)
		serving, left := 5, 0
		for range 26 * 60 {
			time.Sleep(time.Minute)
			n, gone := 0, 0
			for _, in := range first {
				switch now := r.by(in.ID); {
				case now.State == store.InstanceReady:
					n++
				case now.State == store.InstanceCordoned:
					for _, uid := range r.placedOn(in.ID) { // its sessions end within a minute
						r.release(in.ID, uid)
					}
				case now.ID == "":
					gone++
				}
			}
			if serving-n > 1 {
				t.Errorf("after %v %d left at once", r.passed(), serving-n)
			}
			if serving, left = n, gone; serving < 5 && r.passed() < 18*time.Hour {
				t.Fatalf("after %v the first left", r.passed())
			}
			if n := strings.Count(r.states(), "ready"); n < 5 {
				t.Fatalf("after %v the instances are %q", r.passed(), r.states())
			}
		}
		if left != 5 || m.Stats().InstancesLost != 0 {
			t.Errorf("%d of 5 are gone; %+v", left, m.Stats())
		}
	})
}

// TestOldInstanceWithoutRoomGoesWhenItIsIdle renews a pool of one.
func TestOldInstanceWithoutRoomGoesWhenItIsIdle(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MinInstances, c.MaxAge = 1, 24*time.Hour }, func(t *testing.T, r *rig) {
		r.start()
		r.withinStates(time.Minute, "ready")
		first := r.one().ID
		r.place(1)
		time.Sleep(23*time.Hour + 50*time.Minute)
		if r.want("ready"); r.one().ID != first {
			t.Fatal("it went while it was busy")
		}
		time.Sleep(12 * time.Minute)
		r.want("cordoned")
		time.Sleep(12 * time.Hour)
		r.want("cordoned")
		r.releaseAll()
		r.within(time.Minute, "another serves", func() bool { return r.states() == "ready" && r.one().ID != first })
		second := r.one().ID
		time.Sleep(18*time.Hour - time.Minute)
		if r.one().ID != second {
			t.Error("it went too soon")
		}
		time.Sleep(6 * time.Hour) // it goes before its time, since it is idle
		if r.want("ready"); r.one().ID == second {
			t.Error("it did not go")
		}
	})
}
