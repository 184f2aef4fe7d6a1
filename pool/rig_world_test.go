package pool_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

func (r *rig) demand() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting
}

// wait makes n sessions wait for a slot.
func (r *rig) wait(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = n
}

// probe asks the engine of an instance, which answers while its machine runs and the address is right.
func (r *rig) probe(ctx context.Context, in *store.Instance) error {
	r.mu.Lock()
	err := r.sick[in.ID]
	r.probes[in.ID] = struct{}{}
	r.mu.Unlock()
	if err == errHangs {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(10 * time.Millisecond):
	}
	if err != nil {
		return err
	}
	if m := r.machine(in.ID); m.State != pool.MachineRunning || m.Address != in.Address {
		return errors.New("no route to host")
	}
	return nil
}

// sicken makes an engine answer with err; nil heals it.
func (r *rig) sicken(id string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sick[id] = err
}

// machine returns the actual machine of a launch.
func (r *rig) machine(launch string) fake.Machine {
	for _, m := range r.cloud.Machines() {
		if m.LaunchID == launch {
			return m
		}
	}
	return fake.Machine{}
}

// onChange ends the sessions of a lost instance after a while, as the user of the pool does.
func (r *rig) onChange(in store.Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	state := string(in.State)
	if state == "" {
		state = "gone"
	}
	r.changes = append(r.changes, state)
	if in.Outlook != "" {
		state += "/" + in.Outlook
	}
	r.byInstance[in.ID] = append(r.byInstance[in.ID], state)
	if in.Reason != "" {
		r.reasons = append(r.reasons, in.Reason)
	}
	if in.State == store.InstanceLost {
		uids := r.placed[in.ID]
		delete(r.placed, in.ID)
		r.going.Go(func() {
			time.Sleep(time.Second)
			for _, uid := range uids {
				r.release(in.ID, uid)
			}
		})
	}
}

// place gives slots to n sessions, and returns how many there were.
func (r *rig) place(n int) (placed int) {
	r.t.Helper()
	for range n {
		id, _ := r.placeOne()
		if id == "" {
			return placed
		}
		placed++
	}
	return placed
}

// placeOne gives a session its slot on the best instance; "" = there is none.
func (r *rig) placeOne() (instance string, uid int) {
	r.t.Helper()
	var ids []string
	err := r.store.Store.View(context.Background(), func(v store.View) (err error) {
		ids, err = pool.Candidates(v, nil)
		return err
	})
	if err != nil {
		r.t.Error(err)
		return "", 0
	}
	for _, id := range ids {
		err := r.store.Store.Update(context.Background(), nil, func(tx store.Tx) (err error) {
			uid, err = pool.Place(tx, id)
			return err
		})
		if err == nil {
			r.mu.Lock()
			r.placed[id] = append(r.placed[id], uid)
			r.mu.Unlock()
			return id, uid
		}
		if !errors.Is(err, pool.ErrNoSlot) {
			r.t.Error(err)
		}
	}
	return "", 0
}

func (r *rig) release(instance string, uid int) {
	err := r.store.Store.Update(context.Background(), nil, func(tx store.Tx) error {
		return pool.Release(tx, instance, uid, time.Now())
	})
	if err != nil {
		r.t.Error(err)
	}
}

// placedOn returns the uids of the sessions on an instance, and forgets them.
func (r *rig) placedOn(instance string) []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	uids := r.placed[instance]
	delete(r.placed, instance)
	return uids
}

// releaseAll ends every session.
func (r *rig) releaseAll() {
	r.mu.Lock()
	placed := r.placed
	r.placed = map[string][]int{}
	r.mu.Unlock()
	for id, uids := range placed {
		for _, uid := range uids {
			r.release(id, uid)
		}
	}
}

// lossyStore is a Store whose Managers meet faults.
type lossyStore struct {
	store.Store
	mu     sync.Mutex
	lose   int                         // so many Updates commit and say ErrUnknownOutcome
	drop   int                         // so many Updates do not commit and say so
	down   error                       // of every call
	hung   bool                        // every call waits for the end of its context
	before func(keys []store.Key)      // called before each Update
	failIf func(keys []store.Key) bool // Updates that fail
}

func (s *lossyStore) set(change func(*lossyStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *lossyStore) call(ctx context.Context) error {
	s.mu.Lock()
	hung, err := s.hung, s.down
	s.mu.Unlock()
	if hung {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return err
}

func (s *lossyStore) View(ctx context.Context, fn func(store.View) error) error {
	if err := s.call(ctx); err != nil {
		return err
	}
	return s.Store.View(ctx, fn)
}

func (s *lossyStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	if err := s.call(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	before, lose, drop := s.before, s.lose > 0, s.drop > 0
	fail := s.failIf != nil && s.failIf(keys)
	if lose {
		s.lose--
	} else if drop {
		s.drop--
	}
	s.mu.Unlock()
	if before != nil {
		before(keys)
	}
	if fail {
		return errors.New("the store refuses the write")
	}
	if !lose && drop {
		return store.ErrUnknownOutcome
	}
	err := s.Store.Update(ctx, keys, func(tx store.Tx) error { return fn(coarseTx{tx}) })
	if err == nil && lose {
		return store.ErrUnknownOutcome
	}
	return err
}

// coarseTx keeps times as databases do, to the microsecond.
type coarseTx struct{ store.Tx }

func (tx coarseTx) Put(r store.Record) error {
	r = r.Clone()
	if in, ok := r.(*store.Instance); ok {
		in.Since = in.Since.Truncate(time.Microsecond)
	}
	return tx.Tx.Put(r)
}

// hidingCloud is a cloud whose list shows no machine for a while.
type hidingCloud struct {
	*fake.Cloud
	mu     sync.Mutex
	hidden bool
}

func (c *hidingCloud) hide(hidden bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hidden = hidden
}

func (c *hidingCloud) List(ctx context.Context) ([]pool.Machine, error) {
	all, err := c.Cloud.List(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hidden {
		all = nil
	}
	return all, err
}
