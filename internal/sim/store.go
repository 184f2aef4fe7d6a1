package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-go/berth/store"
)

// faultyStore is the store as one replica reaches it.
type faultyStore struct {
	store.Store
	world   *world
	replica string
}

// reach takes a call to the store. at says which call it is.
func (s *faultyStore) reach(ctx context.Context, verb string) (at string, err error) {
	m := s.world.meddler
	n, quiet := m.count(s.replica + " " + verb)
	at = fmt.Sprintf("%s %s %d", s.replica, verb, n)
	pause(ctx, time.Microsecond+m.plan.dice.upTo(2*time.Millisecond, "store", at))
	if until := s.world.cutUntil(s.replica); !quiet && time.Now().Before(until) {
		pause(ctx, time.Until(until))
	}
	switch {
	case m.isDead(s.replica):
		return at, errDead
	case ctx.Err() != nil:
		return at, context.Cause(ctx)
	case !quiet && m.plan.site(storeFails, verb) && m.plan.dice.chance(m.plan.p, "store fails", at):
		m.note(string(storeFails))
		return at, fmt.Errorf("store: %w", errInjected)
	}
	return at, nil
}

// View implements store.Store.
func (s *faultyStore) View(ctx context.Context, fn func(store.View) error) error {
	if _, err := s.reach(ctx, "view"); err != nil {
		return err
	}
	return s.Store.View(ctx, fn)
}

// Update implements store.Store.
func (s *faultyStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	verb := "update"
	if len(keys) > 0 {
		verb += " " + keys[0].Kind.String()
	}
	at, err := s.reach(ctx, verb)
	if err != nil {
		return err
	}
	if err := s.Store.Update(ctx, keys, fn); err != nil {
		return err
	}
	s.world.committed()
	m := s.world.meddler
	_, quiet := m.count("commits")
	if !quiet && m.plan.armed[storeUnknown] && m.plan.dice.chance(m.plan.p, "unknown", at) {
		m.note(string(storeUnknown))
		return store.ErrUnknownOutcome
	}
	if m.isDead(s.replica) {
		return errDead
	}
	return nil
}

// Close implements store.Store. The store outlives its replicas.
func (s *faultyStore) Close() error { return nil }

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
