package pool_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

func TestCordonHoldsUntilUncordon(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MaxInstances = 2 }, func(t *testing.T, r *rig) {
		m := r.start()
		r.wait(1)
		r.withinStates(time.Minute, "ready")
		r.wait(0)
		r.place(1)
		id := r.one().ID
		for range 2 { // the second one changes the reason
			if err := m.Cordon(t.Context(), id, "its disk is odd"); err != nil {
				t.Fatal(err)
			}
		}
		if n := r.place(1); n != 0 { // at once, whatever the planner does
			t.Error("a cordoned instance takes a session")
		}
		time.Sleep(5 * time.Minute) // with a session, an instance that the planner has cordoned would come back at once
		if in := r.one(); in.State != store.InstanceCordoned || in.Wish != store.WishCordon || in.Reason != "its disk is odd" {
			t.Errorf("%+v", in)
		}
		r.wait(1)
		r.withinStates(time.Minute, "cordoned ready") // its free slots serve nobody
		r.wait(0)
		r.releaseAll()
		time.Sleep(time.Hour) // the other one was idle, and has gone
		r.want("cordoned")
		for range 2 {
			if err := m.Uncordon(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		r.withinStates(time.Second, "ready")
		if n := r.place(1); n != 1 {
			t.Error("an instance that was uncordoned takes no session")
		}
	})
}

func TestDrainEndsAnInstanceAfterItsSessions(t *testing.T) {
	inBubble(t, fake.CloudOptions{}, nil, func(t *testing.T, r *rig) {
		m := r.start()
		r.wait(1)
		r.withinStates(time.Minute, "ready")
		r.wait(0)
		r.place(1)
		id := r.one().ID
		for _, wish := range []error{m.Cordon(t.Context(), id, "a look"), m.Drain(t.Context(), id, "a new kernel"), m.Drain(t.Context(), id, "again")} {
			if wish != nil {
				t.Fatal(wish)
			}
		}
		for _, refused := range []error{m.Uncordon(t.Context(), id), m.Cordon(t.Context(), id, ""), m.Drain(t.Context(), "l-none", "")} {
			if !errors.Is(refused, pool.ErrState) {
				t.Errorf("after Drain: %v, want ErrState", refused)
			}
		}
		time.Sleep(5 * time.Minute)
		r.want("cordoned")
		r.releaseAll()
		r.withinStates(5*time.Minute, "")
	})
}
