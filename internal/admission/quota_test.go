package admission_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
)

// over fails the test unless an error is that of a limit, at once, with these numbers. It returns the error.
func over(w *world.World, begun time.Time, err error, limit string, most int) *berth.QuotaError {
	w.T.Helper()
	e, ok := errors.AsType[*berth.QuotaError](err)
	if !ok || !errors.Is(err, berth.ErrQuota) || !berth.Retryable(err) {
		w.T.Fatalf("got %v, which is no ErrQuota", err)
	}
	if e.Limit != limit || e.Max != most || e.Now != most || e.UserID != world.User {
		w.T.Errorf("got %+v", *e)
	}
	if took := time.Since(begun); took > 0 {
		w.T.Errorf("the refusal took %v", took)
	}
	if !strings.Contains(err.Error(), fmt.Sprint(most)) || !strings.Contains(err.Error(), world.User) {
		w.T.Errorf("the error does not say who or how many: %v", err)
	}
	return e
}

// refuses fails the test unless a session of User is refused.
func refuses(w *world.World, task, limit string, most int) *berth.QuotaError {
	w.T.Helper()
	begun := time.Now()
	_, err := w.CreateSession(w.T.Context(), world.Request(task, world.RepoA))
	return over(w, begun, err, limit, most)
}

func consistent(w *world.World) {
	w.T.Helper()
	snapshot, err := audit.Take(w.T.Context(), w.Store)
	if err != nil {
		w.T.Fatal(err)
	}
	for _, fault := range snapshot.Faults(1) {
		w.T.Error(fault)
	}
}

func of(user string, task, repo string) berth.SessionRequest {
	r := world.Request(task, repo)
	r.UserID = user
	return r
}

func TestSessionsOfAUserAreBounded(t *testing.T) {
	limits := berth.UserLimits{Sessions: 2}
	world.Run(t, world.Setup{Config: berth.Config{UserLimits: limits}}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		first := w.Create("t1", world.RepoA)
		world.Create(t, other, world.Request("t2", world.RepoB))
		refuses(w, "t3", "Sessions", 2)
		if again := w.Create("t1", world.RepoA); again.ID() != first.ID() {
			t.Error("a repetition has got another session")
		}
		world.Create(t, w.Provider, of(world.OtherUser, "t4", world.RepoA))
		if n := w.Stats().Refused; n != 1 {
			t.Errorf("%d are counted as refused", n)
		}
		if n := other.Stats().Refused + w.Stats().Failed; n != 0 {
			t.Errorf("%d are counted elsewhere", n)
		}
		w.Terminate(first)
		w.Create("t3", world.RepoA)
		refuses(w, "t5", "Sessions", 2)
		consistent(w)
	})
}

// TestAFailedCreationGivesItsSlotBack: its start counts.
func TestAFailedCreationGivesItsSlotBack(t *testing.T) {
	limits := berth.UserLimits{Sessions: 1, StartsPerMinute: 3}
	world.Run(t, world.Setup{Config: berth.Config{UserLimits: limits}}, func(t *testing.T, w *world.World) {
		for i := range 2 {
			r := world.Request(fmt.Sprint("t", i), world.RepoA)
			r.Branch = "nowhere"
			if _, err := w.CreateSession(t.Context(), r); err == nil || errors.Is(err, berth.ErrQuota) {
				t.Fatal(err)
			}
			consistent(w)
		}
		w.Terminate(w.Create("good", world.RepoA))
		refuses(w, "next", "StartsPerMinute", 3)
		consistent(w)
	})
}

func TestStartsOfAUserAreBounded(t *testing.T) {
	limits := berth.UserLimits{StartsPerMinute: 3}
	world.Run(t, world.Setup{Config: berth.Config{UserLimits: limits}}, func(t *testing.T, w *world.World) {
		w.Create("warm", world.RepoA)
		world.After(2 * time.Minute)
		for i := range 3 {
			w.Terminate(w.Create(fmt.Sprint("t", i), world.RepoA))
		}
		e := refuses(w, "t3", "StartsPerMinute", 3)
		if e.RetryAfter <= 50*time.Second || e.RetryAfter > time.Minute {
			t.Errorf("again after %v", e.RetryAfter)
		}
		if !strings.Contains(e.Error(), "try again in ") {
			t.Error(e)
		}
		world.Create(t, w.Provider, of(world.OtherUser, "t4", world.RepoA))
		time.Sleep(e.RetryAfter - time.Second)
		refuses(w, "t3", "StartsPerMinute", 3)
		time.Sleep(time.Second)
		w.Create("t3", world.RepoA)
		consistent(w)
	})
}

// TestNothingStaysOfAUser: the record of a user whose sessions are forgotten is gone, too, whichever is over first.
func TestNothingStaysOfAUser(t *testing.T) {
	for _, retention := range []time.Duration{time.Second, 10 * time.Minute} {
		t.Run(retention.String(), func(t *testing.T) {
			cfg := berth.Config{UserLimits: berth.UserLimits{StartsPerMinute: 5}, SessionRetention: retention}
			world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
				for i := range 3 {
					w.Terminate(w.Create(fmt.Sprint("t", i), world.RepoA))
				}
				w.View(func(v store.View) error {
					if _, err := v.Get(store.UserKey(world.User)); err != nil {
						t.Errorf("the starts are forgotten: %v", err)
					}
					return nil
				})
				world.After(retention + 2*time.Minute)
				w.Empty()
				w.View(func(v store.View) error {
					if all, err := v.Sessions(store.SessionQuery{}); err != nil || len(all) > 0 {
						t.Errorf("%d sessions are left, %v", len(all), err)
					}
					return nil
				})
			})
		})
	}
}

func TestQueuedSessionsOfAUserAreBounded(t *testing.T) {
	cfg := berth.Config{MaxTasksPerInstance: 1, UserLimits: berth.UserLimits{Queued: 2}}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		full := world.Create(t, w.Provider, of(world.OtherUser, "full", world.RepoA))
		var waiting []<-chan world.Result
		for i := range 2 {
			waiting = append(waiting, world.Creating(t.Context(), w.Provider, world.Request(fmt.Sprint("t", i), world.RepoA)))
			synctest.Wait()
		}
		refuses(w, "t3", "Queued", 2)
		consistent(w)
		w.Terminate(full)
		first := <-waiting[0]
		if first.Err != nil {
			t.Fatal(first.Err)
		}
		waiting = append(waiting, world.Creating(t.Context(), w.Provider, world.Request("t3", world.RepoA)))
		w.Pending(waiting[2], "there is no slot")
		refuses(w, "t4", "Queued", 2)
		consistent(w)
		for _, s := range w.OpenSessions() { // those that wait leave the queue
			if err := w.TerminateSession(t.Context(), s.ID); err != nil {
				t.Error(err)
			}
		}
		<-waiting[1]
		<-waiting[2]
		consistent(w)
		w.Empty()
	})
}

// TestAUserAtTheLimitWaits: sessions that wait get no slot beyond the limit of their user, hold nobody else back, and no
// instance is launched for them.
func TestAUserAtTheLimitWaits(t *testing.T) {
	cfg := berth.Config{MaxTasksPerInstance: 2, MaxInstances: 3, UserLimits: berth.UserLimits{Sessions: 1}}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		w.Cloud.SetCapacity(0)
		var waiting []<-chan world.Result
		for i := range 3 {
			waiting = append(waiting, world.Creating(t.Context(), w.Provider, world.Request(fmt.Sprint("t", i), world.RepoA)))
			world.After(time.Second)
		}
		w.Cloud.SetCapacity(-1)
		first := <-waiting[0]
		if first.Err != nil {
			t.Fatal(first.Err)
		}
		world.After(time.Minute)
		w.Pending(waiting[1], "its user is at the limit")
		if n := len(w.InstanceRecords()); n != 1 {
			t.Errorf("there are %d instances", n)
		}
		r := of(world.OtherUser, "other", world.RepoA)
		begun := time.Now()
		other := world.Create(t, w.Provider, r)
		if took := time.Since(begun); took > time.Second {
			t.Errorf("another user has waited for %v", took)
		}
		if err := w.TerminateSession(t.Context(), other.ID()); err != nil {
			t.Error(err)
		}
		for i := range 2 {
			consistent(w)
			w.Terminate(first.Session)
			if first = <-waiting[i+1]; first.Err != nil {
				t.Fatal(first.Err)
			}
		}
		w.Terminate(first.Session)
		w.Empty()
	})
}

// TestAWaitThatEndsSaysThatTheUserIsAtTheLimit: it is not the pool that lacks room.
func TestAWaitThatEndsSaysThatTheUserIsAtTheLimit(t *testing.T) {
	cfg := berth.Config{QueueTimeout: 2 * time.Minute, UserLimits: berth.UserLimits{Sessions: 1}}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		w.Cloud.SetCapacity(0)
		first := world.Creating(t.Context(), w.Provider, world.Request("t1", world.RepoA))
		world.After(time.Second)
		second := world.Creating(t.Context(), w.Provider, world.Request("t2", world.RepoA))
		world.After(time.Second)
		w.Cloud.SetCapacity(-1)
		if r := <-first; r.Err != nil {
			t.Fatal(r.Err)
		}
		says(w, (<-second).Err, berth.ErrNoCapacity, "its user may have 1 sessions at once")
		consistent(w)
	})
}

// TestLimitsHoldOverReplicasAndRaces: many calls at many replicas get no more than the limits allow.
func TestLimitsHoldOverReplicasAndRaces(t *testing.T) {
	for name, limits := range map[string]berth.UserLimits{
		"sessions": {Sessions: 5}, "starts": {StartsPerMinute: 5}, "queue": {Queued: 5},
	} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Setup{Config: berth.Config{MaxTasksPerInstance: 50, UserLimits: limits}}, func(t *testing.T, w *world.World) {
				if name == "queue" {
					w.Cloud.SetCapacity(0)
				} else {
					world.Create(t, w.Provider, of(world.OtherUser, "warm", world.RepoA))
				}
				replicas := []*berth.Provider{w.Provider, w.NewProvider(), w.NewProvider()}
				var all sync.WaitGroup
				var refused atomic.Int64
				ctx := t.Context()
				for i := range 30 {
					all.Go(func() {
						_, err := replicas[i%3].CreateSession(ctx, world.Request(fmt.Sprint("t", i), world.RepoA))
						if errors.Is(err, berth.ErrQuota) {
							refused.Add(1)
						} else if err != nil {
							t.Error(err)
						}
					})
				}
				world.After(10 * time.Second)
				if n := refused.Load(); n != 25 {
					t.Errorf("%d of 30 were refused", n)
				}
				n := int64(0)
				for _, p := range replicas {
					n += p.Stats().Refused
				}
				if n != 25 {
					t.Errorf("%d are counted as refused", n)
				}
				consistent(w)
				w.Cloud.SetCapacity(-1)
				all.Wait()
				consistent(w)
			})
		})
	}
}

func TestUserLimitsForOneUser(t *testing.T) {
	cfg := berth.Config{
		UserLimits: berth.UserLimits{Sessions: 1, StartsPerMinute: 2},
		UserLimitsFor: func(user string) (l berth.UserLimits) {
			switch user {
			case "free":
				return berth.UserLimits{Sessions: -1, StartsPerMinute: -1}
			case "more":
				return berth.UserLimits{Sessions: 3}
			}
			return l
		},
	}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		for _, c := range []struct {
			user  string
			may   int
			limit string
		}{{"usual", 1, "Sessions"}, {"more", 2, "StartsPerMinute"}, {"free", 5, ""}} {
			for i := range c.may {
				world.Create(t, w.Provider, of(c.user, fmt.Sprint(c.user, i), world.RepoA))
			}
			if c.limit == "" {
				continue
			}
			_, err := w.CreateSession(t.Context(), of(c.user, c.user+"-more", world.RepoA))
			if e, ok := errors.AsType[*berth.QuotaError](err); !ok || e.Limit != c.limit || e.Max != c.may {
				t.Errorf("%s: %v", c.user, err)
			}
		}
	})
}

// TestWrongCountsAreCorrected: a version that does not count what waits has left a record that says too much.
func TestWrongCountsAreCorrected(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit berth.UserLimits
		wrong store.User
	}{
		{"sessions", berth.UserLimits{Sessions: 2}, store.User{Sessions: 9}},
		{"queue", berth.UserLimits{Queued: 2}, store.User{Sessions: 1, Queued: 9, Revocations: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := berth.Config{MaxTasksPerInstance: 1, MaxInstances: 2, UserLimits: c.limit}
			world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
				w.Create("first", world.RepoA)
				wrong := c.wrong
				wrong.ID = world.User
				err := w.Store.Update(t.Context(), nil, func(tx store.Tx) error { return tx.Put(&wrong) })
				if err != nil {
					t.Fatal(err)
				}
				w.Create("second", world.RepoB)
				consistent(w)
				if n := w.Stats().Refused; n > 0 {
					t.Errorf("%d were refused", n)
				}
			})
		})
	}
}

// TestRecordsOfAnOlderVersion: a version that does not count what waits has left sessions in the queue.
func TestRecordsOfAnOlderVersion(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{UserLimits: berth.UserLimits{Queued: 5}}}, func(t *testing.T, w *world.World) {
		w.Cloud.SetCapacity(0)
		var all []<-chan world.Result
		for i := range 2 {
			all = append(all, world.Creating(t.Context(), w.Provider, world.Request(fmt.Sprint("t", i), world.RepoA)))
			world.After(time.Second)
		}
		err := w.Store.Update(t.Context(), nil, func(tx store.Tx) error { return tx.Delete(store.UserKey(world.User)) })
		if err != nil {
			t.Fatal(err)
		}
		w.Cloud.SetCapacity(-1)
		for _, c := range all {
			if r := <-c; r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		consistent(w)
		for _, s := range w.OpenSessions() {
			if err := w.TerminateSession(t.Context(), s.ID); err != nil {
				t.Error(err)
			}
		}
		w.Empty()
	})
}
