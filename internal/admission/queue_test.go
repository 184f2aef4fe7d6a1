package admission_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/storetest"
)

func TestQueuedTaskGetsTheSlotThatBecomesFree(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxTasksPerInstance: 1}}, func(t *testing.T, w *world.World) {
		first := w.Create("t1", world.RepoA)
		c := world.Creating(t.Context(), w.Provider, world.Request("t2", world.RepoB))
		time.Sleep(time.Hour)
		w.Pending(c, "there is no slot")
		begun := time.Now()
		w.Terminate(first)
		r := <-c
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestQueueIsFairBetweenUsers: many tasks of one user do not hold up the single task of another.
func TestQueueIsFairBetweenUsers(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxTasksPerInstance: 2}}, func(t *testing.T, w *world.World) {
		held := []*berth.Session{w.Create("h1", world.RepoA), w.Create("h2", world.RepoA)}
		var many []<-chan world.Result
		for i := range 10 {
			many = append(many, world.Creating(t.Context(), w.Provider, world.Request(fmt.Sprint("m", i), world.RepoA)))
			world.After(time.Millisecond)
		}
		r := world.Request("one", world.RepoA)
		r.UserID = world.OtherUser
		one := world.Creating(t.Context(), w.Provider, r)
		time.Sleep(10 * time.Second)
		w.Terminate(held[0])
		if r := <-one; r.Err != nil {
			t.Fatal(r.Err)
		}
		w.Pending(many[0], "the other user had nothing")
		w.Terminate(held[1])
		if r := <-many[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		for _, c := range many[1:] {
			w.Pending(c, "there are two slots")
		}
		w.Close()
		for _, c := range many[1:] {
			<-c
		}
	})
}

// TestLongQueueHidesNobody: more tasks than one page holds wait for a container that is full. A later task of another
// user, which a new instance can serve, gets one.
func TestLongQueueHidesNobody(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxInstances: 2, MaxTasksPerInstance: 2}}, func(t *testing.T, w *world.World) {
		held := []*berth.Session{w.Create("h1", world.RepoA), w.Create("h2", world.RepoA)}
		ctx, giveUp := context.WithCancel(t.Context())
		var many []<-chan world.Result
		for i := range store.MaxLimit + 200 {
			many = append(many, world.Creating(ctx, w.Provider, world.Request(fmt.Sprint("m", i), world.RepoA)))
		}
		world.After(time.Minute)
		r := world.Request("one", world.RepoB)
		r.UserID = world.OtherUser
		one := world.Create(t, w.Provider, r)
		if n := w.Cloud.Launches(); n != 2 {
			t.Errorf("%d launches", n)
		}
		for _, c := range many {
			w.Pending(c, "the container's instance is full")
		}
		giveUp()
		for _, c := range many {
			if r := <-c; !errors.Is(r.Err, context.Canceled) {
				t.Fatal(r.Err)
			}
		}
		for _, s := range append(held, one) {
			w.Terminate(s)
		}
		w.Empty()
	})
}

// TestFairQueueCountsAllThatAUserHolds: by the order of arrival alone, the user with more sessions would be served
// first.
func TestFairQueueCountsAllThatAUserHolds(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxTasksPerInstance: 4}}, func(t *testing.T, w *world.World) {
		create := func(user, task string) *berth.Session {
			r := world.Request(task, world.RepoA)
			r.UserID = user
			s := world.Create(t, w.Provider, r)
			return s
		}
		held := []*berth.Session{create(world.User, "w1"), create(world.User, "w2"), create(world.User, "w3"), create(world.OtherUser, "r1")}
		first := world.Creating(t.Context(), w.Provider, world.Request("w4", world.RepoA))
		world.After(time.Second)
		r := world.Request("r2", world.RepoA)
		r.UserID = world.OtherUser
		second := world.Creating(t.Context(), w.Provider, r)
		world.After(time.Second)
		w.Terminate(held[0])
		got := <-second
		w.Pending(first, "its user holds two, the other one")
		if got.Err != nil {
			t.Fatal(got.Err)
		}
		w.Terminate(got.Session)
		got = <-first
		if got.Err != nil {
			t.Fatal(got.Err)
		}
		for _, s := range append(held[1:], got.Session) {
			w.Terminate(s)
		}
		w.Empty()
	})
}

func TestQueueTimeoutIsErrNoCapacity(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{QueueTimeout: time.Minute}}, func(t *testing.T, w *world.World) {
		w.Cloud.SetCapacity(0)
		begun := time.Now()
		_, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA))
		if !errors.Is(err, berth.ErrNoCapacity) || time.Since(begun) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		w.Empty()
		w.Cloud.Heal()
		time.Sleep(10 * time.Minute)
		w.Create("t", world.RepoA)
	})
}

// TestFullContainerIsNoDemandForAnInstance: a task that a new instance cannot serve causes no launch.
func TestFullContainerIsNoDemandForAnInstance(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxInstances: 5, MaxTasksPerInstance: 2}}, func(t *testing.T, w *world.World) {
		first := w.Create("t1", world.RepoA)
		w.Create("t2", world.RepoA)
		c := world.Creating(t.Context(), w.Provider, world.Request("t3", world.RepoA))
		time.Sleep(5 * time.Minute)
		w.Pending(c, "its container's instance is full")
		if n := w.Cloud.Launches(); n != 1 {
			t.Errorf("%d launches", n)
		}
		w.Create("t4", world.RepoB) // which a new instance can serve
		if n := w.Cloud.Launches(); n != 2 {
			t.Errorf("%d launches", n)
		}
		w.Terminate(first)
		if r := <-c; r.Err != nil || r.Session.Info().Start != berth.StartAttached {
			t.Errorf("%v, %v", r.Session, r.Err)
		}
	})
}

func TestMoreContainersPerRepositoryWhereConfigured(t *testing.T) {
	cfg := berth.Config{MaxInstances: 3, MaxTasksPerInstance: 2, MaxContainersPerRepository: 2}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		where := make(map[string]int)
		var last *berth.Session
		for i := range 4 {
			last = w.Create(fmt.Sprint("t", i), world.RepoA)
			where[last.Info().Instance.ID]++
		}
		if len(where) != 2 || len(w.ContainerRecords()) != 2 {
			t.Errorf("instances %v, %d containers", where, len(w.ContainerRecords()))
		}
		c := world.Creating(t.Context(), w.Provider, world.Request("t5", world.RepoA))
		time.Sleep(5 * time.Minute)
		w.Pending(c, "two containers are the most")
		w.Terminate(last)
		if r := <-c; r.Err != nil {
			t.Error(r.Err)
		}
		if n := w.Cloud.Launches(); n != 2 {
			t.Errorf("%d launches", n)
		}
	})
}

// TestSlotsAreNeverExceeded counts the sessions all the time while many are created at once.
func TestSlotsAreNeverExceeded(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxInstances: 3, MaxTasksPerInstance: 3}}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		var rush []<-chan world.Result
		for i := range 30 {
			p := w.Provider
			if i%2 == 0 {
				p = other
			}
			repo := fmt.Sprintf("https://github.com/acme/r%d", i%7)
			rush = append(rush, world.Creating(t.Context(), p, world.Request(fmt.Sprint("t", i), repo)))
		}
		done := 0
		for done < len(rush) {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			for _, in := range w.InstanceRecords() {
				if in.Sessions > in.Slots {
					t.Fatalf("instance %s holds %d of %d", in.ID, in.Sessions, in.Slots)
				}
			}
			if n := w.Cloud.MaxAlive(); n > 3 {
				t.Fatalf("%d machines", n)
			}
			for _, c := range rush {
				select {
				case r := <-c:
					if r.Err != nil {
						t.Fatal(r.Err)
					}
					w.Terminate(r.Session)
					done++
				default:
				}
			}
		}
		w.Empty()
	})
}

// TestTheOrderOfArrivalIsNoMatterOfClocks: the tasks of a process whose clock is behind are not served first.
func TestTheOrderOfArrivalIsNoMatterOfClocks(t *testing.T) {
	for _, ahead := range []time.Duration{3 * time.Hour, -3 * time.Hour} {
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			world.Run(t, world.Setup{Config: berth.Config{MaxTasksPerInstance: 1}}, func(t *testing.T, w *world.World) {
				other := w.NewProviderOn(storetest.Skew(w.Store, func() time.Duration { return ahead }))
				held := w.Create("holds-it", world.RepoA)
				first := world.Creating(t.Context(), other, world.Request("first", world.RepoA))
				world.After(time.Second)
				second := world.Creating(t.Context(), w.Provider, world.Request("second", world.RepoA))
				world.After(time.Second)
				third := world.Creating(t.Context(), other, world.Request("third", world.RepoA))
				world.After(time.Second)
				w.Terminate(held)
				for i, c := range []<-chan world.Result{first, second, third} {
					r := <-c
					if r.Err != nil {
						t.Fatal(i, r.Err)
					}
					for _, later := range []<-chan world.Result{first, second, third}[i+1:] {
						w.Pending(later, "there is one slot")
					}
					w.Terminate(r.Session)
				}
			})
		})
	}
}
