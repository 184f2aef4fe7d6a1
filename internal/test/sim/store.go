package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/storetest"
)

// faultyStore is one replica's access to the store.
type faultyStore struct {
	store.Store
	world   *world
	replica string
}

// passage is a call that reaches the store.
type passage struct {
	context.Context
	at     string // names the call
	struck blow   // the sweep's blow to it after its effect
}

// reach takes a call to the store. sort is the sort of the call for the sweep.
func (s *faultyStore) reach(ctx context.Context, verb string, sort string) (p passage, err error) {
	m := s.world.meddler
	n, quiet := m.count(s.replica + " " + verb)
	at := fmt.Sprintf("%s %s %d", s.replica, verb, n)
	pause(ctx, time.Microsecond+m.plan.dice.upTo(2*time.Millisecond, "store", at))
	if !quiet && m.plan.site(storeSlow, verb) && m.plan.dice.chance(m.plan.p, "store slow", at) {
		m.note(string(storeSlow))
		pause(ctx, m.plan.dice.upTo(4*time.Second, "slow", at))
	}
	if sort == "update session lease" && m.plan.pauses() {
		// The replica that takes over is slow: the other one may have gone on meanwhile.
		pause(ctx, m.plan.dice.upTo(8*time.Second, "takes over", at))
	}
	if until := s.world.cutUntil(s.replica); !quiet && time.Now().Before(until) {
		pause(ctx, time.Until(until))
	}
	if d := s.world.pauseOf(s.replica); !quiet && d > 0 {
		ctx = s.sleep(ctx, d, at)
	}
	switch {
	case m.isDead(s.replica):
		return p, errDead
	case ctx.Err() != nil:
		return p, context.Cause(ctx)
	case !quiet && m.plan.site(storeFails, verb) && m.plan.dice.chance(m.plan.p, "store fails", at):
		m.note(string(storeFails))
		return p, fmt.Errorf("store: %w", errInjected)
	}
	b := m.visit(at, sort)
	switch b {
	case before:
		return p, fmt.Errorf("store: %w", errInjected)
	case pausedLong:
		s.world.putToSleep(s.replica, 16*time.Second+m.plan.dice.upTo(8*time.Second, "pause", at))
		return passage{s.sleep(ctx, s.world.pauseOf(s.replica), at), at, b}, nil
	case killsMeanwhile:
		s.world.killAll()
		time.Sleep(5 * time.Second)
	case unknown:
		return p, store.ErrUnknownOutcome
	case crashBefore:
		m.crash(s.replica)
		return p, errDead
	}
	return passage{ctx, at, b}, nil
}

// sleep delays a call of a replica that is paused for d. The call then continues even if its context has ended. It may
// be the first thing to continue, and the fences must stop it.
func (s *faultyStore) sleep(ctx context.Context, d time.Duration, at string) context.Context {
	time.Sleep(d + s.world.plan.dice.upTo(awakening, "awake", at))
	return context.WithoutCancel(ctx)
}

// View implements store.Store.
func (s *faultyStore) View(ctx context.Context, fn func(store.View) error) error {
	p, err := s.reach(ctx, "view", "view")
	if err != nil {
		return err
	}
	return s.Store.View(p, fn)
}

// Update implements store.Store.
func (s *faultyStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	verb, sort := "update", "update"
	for i, k := range keys {
		if i == 0 {
			verb += " " + k.Kind.String()
		}
		if i == 0 || k.Kind != keys[i-1].Kind {
			sort += " " + k.Kind.String()
		}
	}
	ahead := s.world.clockOf(s.replica) // the offset of the times in the records to be written
	p, err := s.reach(ctx, verb, sort)
	if err != nil {
		return err
	}
	m := s.world.meddler
	_, quiet := m.count("commits")
	doubt := !quiet && m.plan.armed[storeUnknown] && m.plan.dice.chance(m.plan.p, "unknown", p.at)
	if doubt {
		m.note(string(storeUnknown))
	}
	if doubt && m.plan.dice.chance(0.3, "lost", p.at) {
		return store.ErrUnknownOutcome
	}
	var tx *fencedTx
	err = storetest.Strict(s.Store).Update(p, keys, func(inner store.Tx) error {
		tx = &fencedTx{Tx: inner, fences: s.world.rules.fences, replica: s.replica, planner: slices.Contains(keys, plannerLease), used: make(map[string]time.Time), ahead: ahead}
		return fn(tx)
	})
	if err != nil {
		return err
	}
	s.world.committed(tx)
	switch p.struck {
	case after:
		return store.ErrUnknownOutcome
	case crashAfter:
		m.crash(s.replica)
	}
	if doubt {
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
