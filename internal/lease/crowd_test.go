package lease_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/internal/lease"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// frozenStore cuts its user off once frozen is closed: every call then waits until its context ends.
type frozenStore struct {
	store.Store
	frozen chan struct{}
}

func (s frozenStore) wait(ctx context.Context) error {
	select {
	case <-s.frozen:
		<-ctx.Done()
		return ctx.Err()
	default:
		return nil
	}
}

func (s frozenStore) View(ctx context.Context, fn func(store.View) error) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Store.View(ctx, fn)
}

func (s frozenStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Store.Update(ctx, keys, fn)
}

// lateStore replies to an Update a quarter of a term after its commit.
type lateStore struct{ store.Store }

func (s lateStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	err := s.Store.Update(ctx, keys, fn)
	if err == nil {
		time.Sleep(term / 4)
	}
	return err
}

// failingStore fails on demand.
type failingStore struct {
	store.Store
	mu   sync.Mutex
	err  error // of every call
	lose bool  // the reply to the next Update
}

func (s *failingStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *failingStore) loseReply() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = true
}

func (s *failingStore) next() (err error, lose bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lose, s.lose = s.lose, false
	return s.err, lose
}

func (s *failingStore) View(ctx context.Context, fn func(store.View) error) error {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.Store.View(ctx, fn)
}

func (s *failingStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	err, lose := s.next()
	if err != nil {
		return err
	}
	if err = s.Store.Update(ctx, keys, fn); err == nil && lose {
		return store.ErrUnknownOutcome
	}
	return err
}

// slowStore delays each call and its reply, as a network does, and sometimes loses one of them.
type slowStore struct {
	store.Store
	mu   sync.Mutex
	rand *rand.Rand
}

func (s *slowStore) draw(most time.Duration) (time.Duration, float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.rand.Int64N(int64(most))), s.rand.Float64()
}

func (s *slowStore) trip(ctx context.Context) error {
	most := term / 10
	d, p := s.draw(most)
	if p < 0.02 {
		d = 2 * term // cut off for longer than the lease lasts
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
	}
	if p > 0.95 {
		return errors.New("connection reset")
	}
	return nil
}

func (s *slowStore) View(ctx context.Context, fn func(store.View) error) error {
	if err := s.trip(ctx); err != nil {
		return err
	}
	if err := s.Store.View(ctx, fn); err != nil {
		return err
	}
	return s.trip(ctx)
}

func (s *slowStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	if err := s.trip(ctx); err != nil {
		return err
	}
	if err := s.Store.Update(ctx, keys, fn); err != nil {
		return err
	}
	if err := s.trip(ctx); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
	}
	return nil
}

// TestTwoKeepersNeverBothHold runs many Keepers over stores that are slow, fail and lose replies.
func TestTwoKeepersNeverBothHold(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, h := memstore.New(), newHolding()
				var stops []func()
				for i := range 12 {
					slow := &slowStore{Store: st, rand: rand.New(rand.NewPCG(seed, uint64(i)))}
					stops = append(stops, keep(t, slow, fmt.Sprint("k", i), h))
				}
				for range 12 { // they go one by one
					time.Sleep(30 * term)
					stops[0]()
					stops = stops[1:]
				}
				if h.most != 1 {
					t.Errorf("%d held the lease at once", h.most)
				}
				if h.terms < 12 {
					t.Errorf("it was held %d times only", h.terms)
				}
				for i, f := range h.fences[1:] {
					if f <= h.fences[i] {
						t.Errorf("the fences are %v", h.fences)
						break
					}
				}
			})
		})
	}
}

// TestPausedHolderIsFenced lets a holder sleep through its term, like a process on a machine that was suspended. The holder
// does not know that, and its writes fail.
func TestPausedHolderIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, h := memstore.New(), newHolding()
		paused := frozenStore{Store: st, frozen: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		k := &lease.Keeper{Store: paused, ID: "planner", Holder: "a", Term: term}
		var late error
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.Run(ctx, func(_ context.Context, held store.Lease) {
				time.Sleep(3 * term) // deaf to its context
				late = st.Update(context.Background(), nil, func(tx store.Tx) error {
					if err := store.CheckFence(tx, held); err != nil {
						return err
					}
					return tx.Put(&store.Task{ID: "late"})
				})
				cancel()
			})
		}()
		synctest.Wait()
		close(paused.frozen)
		stopB := keep(t, st, "b", h)
		<-done
		if !errors.Is(late, store.ErrFenced) {
			t.Errorf("the late write: %v", late)
		}
		wantHolder(t, h, "b")
		stopB()
	})
}
