package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/storetest"
)

func TestIdleSessionExpires(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{SessionIdleTimeout: 10 * time.Minute}}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		world.After(10 * time.Minute)
		select {
		case <-s.Done():
			t.Fatal("it expired too early")
		default:
		}
		world.After(2 * time.Minute) // a tenth of the timeout, and one round of the reaper
		<-s.Done()
		if !errors.Is(s.Err(), berth.ErrExpired) {
			t.Error(s.Err())
		}
		w.Empty()
		if stats := w.Stats(); stats.Expired != 1 || stats.Ended != 1 {
			t.Errorf("%+v", stats)
		}
		if err := s.KeepAlive(t.Context()); !errors.Is(err, berth.ErrExpired) {
			t.Errorf("KeepAlive of an expired session: %v", err)
		}
	})
}

func TestRunningCommandKeepsASessionAlive(t *testing.T) {
	sleep := func(ctx context.Context, _ fake.Command) int {
		select {
		case <-time.After(2 * time.Hour):
		case <-ctx.Done():
		}
		return 0
	}
	cfg := berth.Config{SessionIdleTimeout: 10 * time.Minute}
	world.Run(t, world.Setup{Config: cfg, Engine: fake.EngineOptions{Run: sleep}}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		cmd := s.Command(t.Context(), "sleep")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		second := s.Command(t.Context(), "sleep")
		time.Sleep(time.Hour)
		if err := second.Start(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		world.After(30 * time.Minute)
		select {
		case <-s.Done():
			t.Fatal("it expired while a command ran")
		default:
		}
		if err := second.Wait(); err != nil {
			t.Error(err)
		}
		ended := time.Now()
		<-s.Done()
		if idle := time.Since(ended); idle < 10*time.Minute || idle > 12*time.Minute {
			t.Errorf("it expired %v after its last command", idle)
		}
	})
}

func TestKeepAliveRenewsTheLease(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		r := world.Request("t", world.RepoA)
		r.IdleTimeout = 5 * time.Minute
		s := world.Create(t, w.Provider, r)
		for range 10 {
			time.Sleep(5 * time.Minute)
			if err := s.KeepAlive(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		info, err := s.Refresh(t.Context())
		if left := time.Until(info.LeaseUntil); err != nil || left < 5*time.Minute {
			t.Errorf("%v is left, %v", left, err)
		}
		world.After(7 * time.Minute)
		<-s.Done()
	})
}

func TestSessionWithoutIdleTimeoutStays(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{SessionIdleTimeout: -1}}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		world.After(5 * time.Hour)
		if info, err := s.Refresh(t.Context()); err != nil || info.State != berth.SessionActive || !info.LeaseUntil.IsZero() {
			t.Errorf("%+v, %v", info, err)
		}
		if err := s.KeepAlive(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestCommandOfAnEarlierProcessKeepsASessionAlive: no process that runs now started the command or waits for it.
func TestCommandOfAnEarlierProcessKeepsASessionAlive(t *testing.T) {
	const runs, idle = 2 * time.Hour, 10 * time.Minute
	sleep := func(ctx context.Context, _ fake.Command) int {
		select {
		case <-time.After(runs):
		case <-ctx.Done():
		}
		return 0
	}
	cfg := berth.Config{SessionIdleTimeout: idle}
	world.Run(t, world.Setup{Config: cfg, Engine: fake.EngineOptions{Run: sleep}}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		if err := s.Command(t.Context(), "sleep").Start(); err != nil {
			t.Fatal(err)
		}
		ends := time.Now().Add(runs)
		world.After(time.Minute)
		w.Close()
		time.Sleep(30 * time.Minute) // its lease is long over
		w.Provider = w.NewProvider()
		s = world.Get(t, w.Provider, s.ID())
		<-s.Done()
		if !errors.Is(s.Err(), berth.ErrExpired) {
			t.Error(s.Err())
		}
		if late := time.Since(ends); late < idle || late > idle+2*time.Minute {
			t.Errorf("it expired %v after its last command", late)
		}
		world.After(time.Second)
		w.Empty()
	})
}

// TestSessionWhoseAgentCannotBeAskedExpiresLater: if the agent does not say whether a session is idle, the session does
// not stay for ever.
func TestSessionWhoseAgentCannotBeAskedExpiresLater(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{SessionIdleTimeout: 10 * time.Minute}}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		w.Engine.Hang(fake.Idle)
		begun := time.Now()
		<-s.Done()
		if took := time.Since(begun); took < 15*time.Minute || took > 18*time.Minute || !errors.Is(s.Err(), berth.ErrExpired) {
			t.Errorf("%v after %v", s.Err(), took)
		}
		if w.Stats().Errors == 0 {
			t.Error("the statistics do not count the failure to ask the agent")
		}
		world.After(time.Second)
		w.Empty()
	})
}

// TestWhoBeganToEndASessionGoesOn: the planner marks an expired session. If another process becomes the planner before
// the session has ended, the first one still ends it.
func TestWhoBeganToEndASessionGoesOn(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		began := w.NewProvider()
		world.After(time.Second)
		if began.Stats().Planner {
			began = w.Provider
		}
		s := world.Create(t, began, world.Request("t", world.RepoA))
		key := store.SessionKey(s.ID())
		err := w.Store.Update(t.Context(), []store.Key{key}, func(tx store.Tx) error {
			r, err := store.Get[*store.Session](tx, key)
			if err != nil {
				return err
			}
			r.State, r.End = store.SessionTerminating, store.Failure{Reason: "expired"}
			return tx.Put(r)
		})
		if err != nil {
			t.Fatal(err)
		}
		world.After(3 * time.Second)
		if !errors.Is(s.Err(), berth.ErrExpired) {
			t.Errorf("it has not ended: %v", s.Err())
		}
	})
}

// idleFor renews a session and calls step half a minute later. It fails the test unless the session expires between
// least and most after the renewal.
func idleFor(w *world.World, s *berth.Session, least, most time.Duration, step func()) {
	w.T.Helper()
	if err := s.KeepAlive(w.T.Context()); err != nil {
		w.T.Fatal(err)
	}
	renewed := time.Now()
	world.After(30 * time.Second)
	step()
	s, err := w.GetSession(w.T.Context(), s.ID())
	if err != nil {
		w.T.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(24 * time.Hour):
		w.T.Fatal("it does not expire")
	}
	if took := time.Since(renewed); !errors.Is(s.Err(), berth.ErrExpired) || took < least || took > most {
		w.T.Errorf("%v after %v, want it to expire between %v and %v", s.Err(), took, least, most)
	}
}

// TestSteppedWallClock: a wall clock that is set neither ends a session nor keeps one, whether the same process or
// another one watches it from then on.
func TestSteppedWallClock(t *testing.T) {
	const idle = 12 * time.Minute
	for _, step := range []time.Duration{0, 2 * time.Hour, -2 * time.Hour, 30 * 24 * time.Hour, -30 * 24 * time.Hour} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("step=%v,restart=%t", step, restart), func(t *testing.T) {
				var skew atomic.Int64
				now := func() time.Duration { return time.Duration(skew.Load()) }
				world.Run(t, world.Setup{Config: berth.Config{SessionIdleTimeout: idle}, Skew: now}, func(t *testing.T, w *world.World) {
					s := w.Create("t", world.RepoA)
					world.After(10 * time.Minute) // nothing but KeepAlive uses it
					most := idle + idle/10 + 30*time.Second
					if restart {
						most += time.Minute // the first look of the next planner, half a minute later
					}
					idleFor(w, s, idle, most, func() {
						if restart {
							w.Close()
						}
						skew.Store(int64(step))
						if restart {
							w.Provider = w.NewProvider()
						}
					})
					world.After(time.Minute)
					w.Empty()
				})
			})
		}
	}
}

// TestTheNextPlannerKnowsOfARenewal: the store does not say what became of the renewal, or the agent cannot be notified of it.
// The planner that follows has a wall clock that says that the lease is over.
func TestTheNextPlannerKnowsOfARenewal(t *testing.T) {
	const idle = 12 * time.Minute
	errAway := errors.New("no route to host")
	for _, c := range []struct {
		name    string
		trouble func(*world.World, *world.CutStore)
		want    error         // of the renewal
		most    time.Duration // from the renewal to the end
	}{
		{"its outcome is unknown", func(_ *world.World, st *world.CutStore) { st.Lose.Store(true) }, store.ErrUnknownOutcome, idle + idle/5},
		{"the agent cannot be notified", func(w *world.World, _ *world.CutStore) { w.Engine.Fail(fake.Renew, 1, errAway) }, nil, 2 * idle},
		{"the agent does not answer", func(w *world.World, _ *world.CutStore) { w.Engine.Hang(fake.Renew) }, nil, 2 * idle},
	} {
		t.Run(c.name, func(t *testing.T) {
			world.Run(t, world.Setup{Config: berth.Config{SessionIdleTimeout: idle}}, func(t *testing.T, w *world.World) {
				w.Close()
				p, reach := w.NewCutProvider()
				w.Provider = p
				s := w.Create("t", world.RepoA)
				world.After(10 * time.Minute)
				c.trouble(w, reach)
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				if err := s.KeepAlive(ctx); !errors.Is(err, c.want) {
					t.Fatalf("KeepAlive: %v, want %v", err, c.want)
				}
				renewed := time.Now()
				p.Close()
				w.Provider = w.NewProviderOn(storetest.Skew(w.Store, func() time.Duration { return 2 * time.Hour }))
				s = world.Get(t, w.Provider, s.ID())
				<-s.Done()
				if took := time.Since(renewed); !errors.Is(s.Err(), berth.ErrExpired) || took < idle || took > c.most {
					t.Errorf("%v after %v, want it to expire between %v and %v", s.Err(), took, idle, c.most)
				}
				world.After(time.Second)
				w.Empty()
			})
		})
	}
}

// TestReplicasWhoseClocksDiffer: the clock of the planner is hours ahead of, or behind, the clock of the replica that
// renews.
func TestReplicasWhoseClocksDiffer(t *testing.T) {
	const idle = 12 * time.Minute
	for _, ahead := range []time.Duration{3 * time.Hour, -3 * time.Hour} {
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			world.Run(t, world.Setup{Config: berth.Config{SessionIdleTimeout: idle}}, func(t *testing.T, w *world.World) {
				planner := w.NewProviderOn(storetest.Skew(w.Store, func() time.Duration { return ahead }))
				w.Provider.Close()
				world.After(30 * time.Second)
				w.Provider = w.NewProvider()
				if !planner.Stats().Planner {
					t.Fatal("the wrong process plans")
				}
				s := w.Create("t", world.RepoA)
				for range 10 {
					world.After(9 * time.Minute)
					if err := s.KeepAlive(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				idleFor(w, s, idle, idle+idle/10+30*time.Second, func() {})
			})
		})
	}
}

// TestKeepAliveCostsOneWriteInATenth: a renewal that would gain less than a tenth of the IdleTimeout is not written,
// also when several processes renew in turn.
func TestKeepAliveCostsOneWriteInATenth(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		s := w.Create("t", world.RepoA)
		same := world.Get(t, other, s.ID())
		beat := func() (n uint64) {
			w.Edit(s.ID(), func(_ store.Tx, s *store.Session, _ *store.Container) error { n = s.Beat; return nil })
			return n
		}
		first := beat()
		for range 60 {
			for _, s := range []*berth.Session{s, same} {
				world.After(30 * time.Second)
				if err := s.KeepAlive(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := beat() - first; n < 9 || n > 12 {
			t.Errorf("an hour of KeepAlive was written %d times, want once in 6 min", n)
		}
	})
}

// TestSteppedWallClockAndIdleInstance: an instance without sessions is retired after its idle time, also if a wall
// clock is set.
func TestSteppedWallClockAndIdleInstance(t *testing.T) {
	const idle = 10 * time.Minute
	for _, step := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			var skew atomic.Int64
			now := func() time.Duration { return time.Duration(skew.Load()) }
			world.Run(t, world.Setup{Config: berth.Config{InstanceIdleTimeout: idle}, Skew: now}, func(t *testing.T, w *world.World) {
				s := w.Create("t", world.RepoA)
				world.After(time.Hour)
				w.Terminate(s)
				world.After(time.Minute)
				skew.Store(int64(step))
				world.After(idle - 2*time.Minute)
				if n := len(w.InstanceRecords()); n != 1 {
					t.Errorf("%d instances before the idle time is over", n)
				}
				world.After(5 * time.Minute) // to this clock the record seems to have changed, so the idle time begins again
				if n := len(w.InstanceRecords()); n != 0 {
					t.Errorf("%d instances are left", n)
				}
			})
		})
	}
}
