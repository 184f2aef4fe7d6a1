package berth_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/store"
)

// cutStore is a store that one replica may not reach for a while.
type cutStore struct {
	store.Store
	cut  atomic.Bool
	lose atomic.Bool // the reply of the next Update that makes a session; from then on it is cut
}

var errCut = errors.New("the store cannot be reached")

func (s *cutStore) View(ctx context.Context, fn func(store.View) error) error {
	if s.cut.Load() {
		return errCut
	}
	return s.Store.View(ctx, fn)
}

func (s *cutStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	if s.cut.Load() {
		return errCut
	}
	made := false
	err := s.Store.Update(ctx, keys, func(tx store.Tx) error {
		return fn(&watchedTx{tx, func(r store.Record) { made = made || r.Key().Kind == store.KindSession }})
	})
	if err == nil && made && s.lose.CompareAndSwap(true, false) {
		s.cut.Store(true)
		return store.ErrUnknownOutcome
	}
	return err
}

// watchedTx tells of each record that is put.
type watchedTx struct {
	store.Tx
	put func(store.Record)
}

func (tx *watchedTx) Put(r store.Record) error {
	tx.put(r)
	return tx.Tx.Put(r)
}

// replicas returns how many replicas the pool's record lists. Each must have a lease.
func (w *world) replicas() (n int) {
	w.t.Helper()
	w.view(func(v store.View) error {
		pool, err := store.Get[*store.Pool](v, store.PoolKey())
		if err != nil {
			return err
		}
		for _, r := range pool.Replicas {
			if _, err := v.Get(store.LeaseKey("replica/" + r)); err != nil {
				w.t.Errorf("replica %s: %v", r, err)
			}
		}
		n = len(pool.Replicas)
		return nil
	})
	return n
}

func TestDeadReplicasAreForgotten(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		reach := &cutStore{Store: w.store}
		w.store = reach
		other := w.provider()
		w.store = reach.Store
		after(time.Second)
		if n := w.replicas(); n != 2 {
			t.Fatalf("%d replicas of 2", n)
		}
		reach.cut.Store(true)
		after(time.Minute)
		if n := w.replicas(); n != 1 {
			t.Errorf("%d replicas of 1 that lives", n)
		}
		if n := other.Stats().Errors; n == 0 {
			t.Error("it has not counted that it cannot renew its lease")
		}
		reach.cut.Store(false)
		after(time.Minute)
		if n := w.replicas(); n != 2 {
			t.Errorf("%d replicas of 2: one has come back", n)
		}
		s, err := other.CreateSession(t.Context(), asking("t", repoA))
		if err != nil {
			t.Fatal(err)
		}
		other.Close()
		if n := w.replicas(); n != 1 {
			t.Errorf("%d replicas of 1: the other has closed", n)
		}
		w.terminate(s)
		after(time.Second)
		w.empty()
	})
}

// TestReplicaIsNotForgottenBeforeItsWork: what it was creating is ended first.
func TestReplicaIsNotForgottenBeforeItsWork(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxTasksPerInstance: 1}}, func(t *testing.T, w *world) {
		held := w.create("held", repoA)
		reach := &cutStore{Store: w.store}
		w.store = reach
		other := w.provider()
		w.store = reach.Store
		c := w.creating(t.Context(), other, asking("t", repoB))
		after(time.Second)
		reach.cut.Store(true)
		<-c
		after(time.Minute)
		if n := w.replicas(); n != 1 {
			t.Errorf("%d replicas of 1 that lives", n)
		}
		w.terminate(held)
		after(time.Second)
		w.empty()
	})
}

// TestUnknownOutcomeIsUndone: the reply to the commit that made a session is lost, and then the store is not to be
// reached. The caller gets an error, so nothing of the session stays.
func TestUnknownOutcomeIsUndone(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		reach := &cutStore{Store: w.store}
		w.store = reach
		other := w.provider()
		w.store = reach.Store
		w.terminate(w.create("before", repoA)) // an instance is up
		reach.lose.Store(true)
		if _, err := other.CreateSession(t.Context(), asking("t", repoA)); !errors.Is(err, errCut) {
			t.Errorf("%v, want %v", err, errCut)
		}
		if n := len(w.alive()); n != 1 {
			t.Fatalf("%d sessions: the one whose commit was not confirmed should be there", n)
		}
		reach.cut.Store(false)
		after(5 * time.Second) // much less than the term of a lease: the replica itself undoes it
		w.empty()
	})
}

// TestReplicaThatIsForgottenAndComesBackIsAlive: its new lease looks like the one that was removed.
func TestReplicaThatIsForgottenAndComesBackIsAlive(t *testing.T) {
	for away := 14 * time.Second; away < 24*time.Second; away += time.Second / 2 {
		t.Run(away.String(), func(t *testing.T) {
			inWorld(t, setup{}, func(t *testing.T, w *world) {
				w.terminate(w.create("before", repoA))
				reach := &cutStore{Store: w.store}
				w.store = reach
				other := w.provider()
				w.store = reach.Store
				time.Sleep(1100 * time.Millisecond) // it has its lease, and has not renewed it
				reach.cut.Store(true)
				time.Sleep(away)
				reach.cut.Store(false)
				for w.replicas() != 2 {
					time.Sleep(50 * time.Millisecond)
				}
				w.engine.Next(fake.Open, 1, fake.Fault{Delay: 3 * time.Second})
				s, err := other.CreateSession(t.Context(), asking("t", repoA))
				if err != nil {
					t.Fatal(err)
				}
				w.terminate(s)
				w.empty()
			})
		})
	}
}

// TestOneReplicaPlans: the first does, until it closes or is cut off; then another one does.
func TestOneReplicaPlans(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		after(time.Second)
		reach := &cutStore{Store: w.store}
		w.store = reach
		second := w.provider()
		w.store = reach.Store
		after(time.Second)
		plan := func(when string, want ...bool) {
			t.Helper()
			for i, p := range []*berth.Provider{w.Provider, second} {
				if got := p.Stats().Planner; got != want[i] {
					t.Errorf("%s: replica %d plans: %v", when, i, got)
				}
			}
		}
		plan("at first", true, false)
		w.Provider.Close()
		after(time.Second)
		plan("after the planner has closed", false, true)
		reach.cut.Store(true)
		after(time.Minute)
		plan("when it is cut off", false, false)
	})
}
