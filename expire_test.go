package berth_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/store"
)

func TestIdleSessionExpires(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{SessionIdleTimeout: 10 * time.Minute}}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		after(10 * time.Minute)
		select {
		case <-s.Done():
			t.Fatal("it expired too early")
		default:
		}
		after(2 * time.Minute) // a tenth, and the reaper's pace
		<-s.Done()
		if !errors.Is(s.Err(), berth.ErrExpired) {
			t.Error(s.Err())
		}
		w.empty()
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
	inWorld(t, setup{Config: cfg, Engine: fake.EngineOptions{Run: sleep}}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
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
		after(30 * time.Minute)
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
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		r := asking("t", repoA)
		r.IdleTimeout = 5 * time.Minute
		s, err := w.CreateSession(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
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
		after(7 * time.Minute)
		<-s.Done()
	})
}

func TestSessionWithoutIdleTimeoutStays(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{SessionIdleTimeout: -1}}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		after(5 * time.Hour)
		if info, err := s.Refresh(t.Context()); err != nil || info.State != berth.SessionActive || !info.LeaseUntil.IsZero() {
			t.Errorf("%+v, %v", info, err)
		}
		if err := s.KeepAlive(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestCommandOfAnEarlierProcessKeepsASessionAlive: nobody who runs now has started it, or waits for it.
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
	inWorld(t, setup{Config: cfg, Engine: fake.EngineOptions{Run: sleep}}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		if err := s.Command(t.Context(), "sleep").Start(); err != nil {
			t.Fatal(err)
		}
		ends := time.Now().Add(runs)
		after(time.Minute)
		w.Close()
		time.Sleep(30 * time.Minute) // its lease is long over
		w.Provider = w.provider()
		s, err := w.GetSession(t.Context(), s.ID())
		if err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		if !errors.Is(s.Err(), berth.ErrExpired) {
			t.Error(s.Err())
		}
		if late := time.Since(ends); late < idle || late > idle+2*time.Minute {
			t.Errorf("it expired %v after its last command", late)
		}
		after(time.Second)
		w.empty()
	})
}

// TestSessionWhoseAgentCannotBeAskedExpiresLater: a session is not kept for ever because nobody can say whether it is
// used.
func TestSessionWhoseAgentCannotBeAskedExpiresLater(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{SessionIdleTimeout: 10 * time.Minute}}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		w.engine.Hang(fake.Idle)
		begun := time.Now()
		<-s.Done()
		if took := time.Since(begun); took < 15*time.Minute || took > 18*time.Minute || !errors.Is(s.Err(), berth.ErrExpired) {
			t.Errorf("%v after %v", s.Err(), took)
		}
		if w.Stats().Errors == 0 {
			t.Error("that it cannot be asked is not counted")
		}
		after(time.Second)
		w.empty()
	})
}

// TestOnlyThePlannerReaps: a process that was paused for longer than its lease finds sessions to end and records to
// remove, by what it knew. Each of its writes looks at whether it still plans.
func TestOnlyThePlannerReaps(t *testing.T) {
	cfg := berth.Config{SessionIdleTimeout: 10 * time.Minute, SessionRetention: 10 * time.Minute}
	inWorld(t, setup{Config: cfg}, func(t *testing.T, w *world) {
		paused := w.provider()
		after(time.Second)
		if paused.Stats().Planner {
			paused = w.Provider
		}
		stale := store.Lease{ID: "planner", Holder: "r-paused"}
		s := w.create("t", repoA)
		time.Sleep(time.Until(s.Info().LeaseUntil) + time.Millisecond) // before the planner looks
		if expired, _ := paused.ReapUnder(t.Context(), stale); !errors.Is(expired[s.ID()], store.ErrFenced) {
			t.Errorf("ending a session that expired: %v", expired)
		}
		after(2 * time.Second)
		info, err := s.Refresh(t.Context())
		if err != nil || !errors.Is(s.Err(), berth.ErrExpired) {
			t.Fatalf("the planner has not ended it: %v, %v", s.Err(), err)
		}
		time.Sleep(time.Until(info.EndedAt) + cfg.SessionRetention + time.Millisecond)
		if _, removed := paused.ReapUnder(t.Context(), stale); !errors.Is(removed, store.ErrFenced) {
			t.Errorf("removing a session that ended long ago: %v", removed)
		}
		after(2 * time.Second)
		if _, err := w.GetSession(t.Context(), s.ID()); !errors.Is(err, berth.ErrSessionNotFound) {
			t.Errorf("the planner has not removed it: %v", err)
		}
	})
}

// TestWhoBeganToEndASessionGoesOn: the planner marks a session that expired; when another process plans before it is
// done, the session is still its own to end.
func TestWhoBeganToEndASessionGoesOn(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		began := w.provider()
		after(time.Second)
		if began.Stats().Planner {
			began = w.Provider
		}
		s, err := began.CreateSession(t.Context(), asking("t", repoA))
		if err != nil {
			t.Fatal(err)
		}
		key := store.SessionKey(s.ID())
		err = w.store.Update(t.Context(), []store.Key{key}, func(tx store.Tx) error {
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
		after(3 * time.Second)
		if !errors.Is(s.Err(), berth.ErrExpired) {
			t.Errorf("it has not ended: %v", s.Err())
		}
	})
}
