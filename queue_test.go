package berth_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/store"
)

func TestQueuedTaskGetsTheSlotThatBecomesFree(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxTasksPerInstance: 1}}, func(t *testing.T, w *world) {
		first := w.create("t1", repoA)
		c := w.creating(t.Context(), w.Provider, asking("t2", repoB))
		time.Sleep(time.Hour)
		w.pending(c, "there is no slot")
		begun := time.Now()
		w.terminate(first)
		r := <-c
		if r.err != nil {
			t.Fatal(r.err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestQueueIsFairBetweenUsers: one user's many tasks do not starve another's one.
func TestQueueIsFairBetweenUsers(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxTasksPerInstance: 2}}, func(t *testing.T, w *world) {
		held := []*berth.Session{w.create("h1", repoA), w.create("h2", repoA)}
		var many []<-chan result
		for i := range 10 {
			many = append(many, w.creating(t.Context(), w.Provider, asking(fmt.Sprint("m", i), repoA)))
			after(time.Millisecond)
		}
		r := asking("one", repoA)
		r.UserID = runner
		one := w.creating(t.Context(), w.Provider, r)
		time.Sleep(10 * time.Second)
		w.terminate(held[0])
		if r := <-one; r.err != nil {
			t.Fatal(r.err)
		}
		w.pending(many[0], "the other user had nothing")
		w.terminate(held[1])
		if r := <-many[0]; r.err != nil {
			t.Fatal(r.err)
		}
		for _, c := range many[1:] {
			w.pending(c, "there are two slots")
		}
		w.Close()
		for _, c := range many[1:] {
			<-c
		}
	})
}

// TestLongQueueHidesNobody: more tasks than a page holds wait for a container that is full, and a later task of another
// user, which a new instance would help, gets one.
func TestLongQueueHidesNobody(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxInstances: 2, MaxTasksPerInstance: 2}}, func(t *testing.T, w *world) {
		held := []*berth.Session{w.create("h1", repoA), w.create("h2", repoA)}
		ctx, giveUp := context.WithCancel(t.Context())
		var many []<-chan result
		for i := range store.MaxLimit + 200 {
			many = append(many, w.creating(ctx, w.Provider, asking(fmt.Sprint("m", i), repoA)))
		}
		after(time.Minute)
		r := asking("one", repoB)
		r.UserID = runner
		one, err := w.CreateSession(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if n := w.cloud.Launches(); n != 2 {
			t.Errorf("%d launches", n)
		}
		for _, c := range many {
			w.pending(c, "the container's instance is full")
		}
		giveUp()
		for _, c := range many {
			if r := <-c; !errors.Is(r.err, context.Canceled) {
				t.Fatal(r.err)
			}
		}
		for _, s := range append(held, one) {
			w.terminate(s)
		}
		w.empty()
	})
}

// TestFairQueueCountsAllThatAUserHolds: in the order of arrival alone, the one who holds more would go first.
func TestFairQueueCountsAllThatAUserHolds(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxTasksPerInstance: 4}}, func(t *testing.T, w *world) {
		create := func(user, task string) *berth.Session {
			r := asking(task, repoA)
			r.UserID = user
			s, err := w.CreateSession(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		held := []*berth.Session{create(wile, "w1"), create(wile, "w2"), create(wile, "w3"), create(runner, "r1")}
		first := w.creating(t.Context(), w.Provider, asking("w4", repoA))
		after(time.Second)
		r := asking("r2", repoA)
		r.UserID = runner
		second := w.creating(t.Context(), w.Provider, r)
		after(time.Second)
		w.terminate(held[0])
		got := <-second
		w.pending(first, "its user holds two, the other one")
		if got.err != nil {
			t.Fatal(got.err)
		}
		w.terminate(got.s)
		got = <-first
		if got.err != nil {
			t.Fatal(got.err)
		}
		for _, s := range append(held[1:], got.s) {
			w.terminate(s)
		}
		w.empty()
	})
}

func TestQueueTimeoutIsErrNoCapacity(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{QueueTimeout: time.Minute}}, func(t *testing.T, w *world) {
		w.cloud.SetCapacity(0)
		begun := time.Now()
		_, err := w.CreateSession(t.Context(), asking("t", repoA))
		if !errors.Is(err, berth.ErrNoCapacity) || time.Since(begun) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		w.empty()
		w.cloud.Heal()
		time.Sleep(10 * time.Minute)
		w.create("t", repoA)
	})
}

// TestFullContainerIsNoDemandForAnInstance: a task that a new instance would not help does not make one.
func TestFullContainerIsNoDemandForAnInstance(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxInstances: 5, MaxTasksPerInstance: 2}}, func(t *testing.T, w *world) {
		first := w.create("t1", repoA)
		w.create("t2", repoA)
		c := w.creating(t.Context(), w.Provider, asking("t3", repoA))
		time.Sleep(5 * time.Minute)
		w.pending(c, "its container's instance is full")
		if n := w.cloud.Launches(); n != 1 {
			t.Errorf("%d launches", n)
		}
		w.create("t4", repoB) // which a new instance does help
		if n := w.cloud.Launches(); n != 2 {
			t.Errorf("%d launches", n)
		}
		w.terminate(first)
		if r := <-c; r.err != nil || r.s.Info().Start != berth.StartAttached {
			t.Errorf("%v, %v", r.s, r.err)
		}
	})
}

func TestMoreContainersPerRepositoryWhereConfigured(t *testing.T) {
	cfg := berth.Config{MaxInstances: 3, MaxTasksPerInstance: 2, MaxContainersPerRepository: 2}
	inWorld(t, setup{Config: cfg}, func(t *testing.T, w *world) {
		where := make(map[string]int)
		var last *berth.Session
		for i := range 4 {
			last = w.create(fmt.Sprint("t", i), repoA)
			where[last.Info().Instance.ID]++
		}
		if len(where) != 2 || len(w.containers()) != 2 {
			t.Errorf("instances %v, %d containers", where, len(w.containers()))
		}
		c := w.creating(t.Context(), w.Provider, asking("t5", repoA))
		time.Sleep(5 * time.Minute)
		w.pending(c, "two containers are the most")
		w.terminate(last)
		if r := <-c; r.err != nil {
			t.Error(r.err)
		}
		if n := w.cloud.Launches(); n != 2 {
			t.Errorf("%d launches", n)
		}
	})
}

// TestSlotsAreNeverExceeded looks at every moment of a rush.
func TestSlotsAreNeverExceeded(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxInstances: 3, MaxTasksPerInstance: 3}}, func(t *testing.T, w *world) {
		other := w.provider()
		var rush []<-chan result
		for i := range 30 {
			p := w.Provider
			if i%2 == 0 {
				p = other
			}
			repo := fmt.Sprintf("https://github.com/acme/r%d", i%7)
			rush = append(rush, w.creating(t.Context(), p, asking(fmt.Sprint("t", i), repo)))
		}
		done := 0
		for done < len(rush) {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			for _, in := range w.instances() {
				if in.Sessions > in.Slots {
					t.Fatalf("instance %s holds %d of %d", in.ID, in.Sessions, in.Slots)
				}
			}
			if n := w.cloud.MaxAlive(); n > 3 {
				t.Fatalf("%d machines", n)
			}
			for _, c := range rush {
				select {
				case r := <-c:
					if r.err != nil {
						t.Fatal(r.err)
					}
					w.terminate(r.s)
					done++
				default:
				}
			}
		}
		w.empty()
	})
}
