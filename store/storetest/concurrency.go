package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/berth-go/berth/store"
)

var concurrencyCases = []testCase{
	{"no update of one record is lost", noLostUpdate},
	{"no update across records is lost, in any order of their keys", noLostTransfer},
	{"two Updates that each read what the other writes do not both go by the old", noWriteSkew},
	{"two Updates that each look for what the other makes do not both miss it", noPhantom},
	{"of many that make one record, one does", oneMaker},
	{"an Update that fails disturbs no other", failuresDisturbNobody},
}

// together runs fn n times at once and waits.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

func noLostUpdate(t *testing.T, h *handle) {
	const workers, each = 8, 50
	key := store.InstanceKey("counter")
	for _, keys := range [][]store.Key{{key}, nil} {
		h.delete(key)
		together(workers, func(int) {
			for range each {
				if err := h.Update(h.ctx, keys, func(tx store.Tx) error { return add(tx, key, 1) }); err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
		if got := count(h.get(key)); got != workers*each {
			t.Fatalf("%d increments counted to %d (hints: %v)", workers*each, got, keys)
		}
	}
}

func noLostTransfer(t *testing.T, h *handle) {
	const workers, each, accounts, start = 8, 40, 5, 100
	key := func(i int) store.Key { return store.InstanceKey(fmt.Sprint("account-", i%accounts)) }
	for i := range accounts {
		h.update(func(tx store.Tx) error { return add(tx, key(i), start) }, key(i))
	}
	together(workers, func(w int) {
		for i := range each {
			from, to := key(w+i), key(w+i+1+i%(accounts-1))
			keys := []store.Key{from, to}[:w%3] // none, one or both
			err := h.Update(h.ctx, keys, func(tx store.Tx) error {
				return errors.Join(add(tx, from, -1), add(tx, to, +1))
			})
			if err != nil {
				t.Errorf("Update: %v", err)
			}
		}
	})
	sum := 0
	for i := range accounts {
		sum += count(h.get(key(i)))
	}
	if sum != accounts*start {
		t.Fatalf("the sum is %d, want %d", sum, accounts*start)
	}
}

// noWriteSkew: two may sign off only while the other is on. Each reads both and writes its own.
func noWriteSkew(t *testing.T, h *handle) {
	key := func(i int) store.Key { return store.InstanceKey(fmt.Sprint("doctor-", i)) }
	for round := range 60 {
		for i := range 2 {
			h.delete(key(i))
			h.update(func(tx store.Tx) error { return add(tx, key(i), 1) }, key(i))
		}
		together(2, func(i int) {
			keys := [][]store.Key{nil, {key(i)}, {key(i), key(1 - i)}}[round%3]
			err := h.Update(h.ctx, keys, func(tx store.Tx) error {
				other, err := tx.Get(key(1 - i))
				if err != nil || count(other) == 0 {
					return err
				}
				return add(tx, key(i), -1)
			})
			if err != nil {
				t.Errorf("Update: %v", err)
			}
		})
		if count(h.get(key(0)))+count(h.get(key(1))) == 0 {
			t.Fatalf("round %d: both signed off", round)
		}
	}
}

// noPhantom is noWriteSkew with records that do not exist yet: there is no row to lock.
func noPhantom(t *testing.T, h *handle) {
	for round := range 60 {
		key := func(i int) store.Key { return store.TaskKey(fmt.Sprint("claim-", round, "-", i)) }
		together(2, func(i int) {
			keys := [][]store.Key{nil, {key(i)}, {key(i), key(1 - i)}}[round%3]
			err := h.Update(h.ctx, keys, func(tx store.Tx) error {
				other, err := store.Find[*store.Task](tx, key(1-i))
				if err != nil || other != nil {
					return err
				}
				return tx.Put(&store.Task{ID: key(i).ID, Session: "mine"})
			})
			if err != nil {
				t.Errorf("Update: %v", err)
			}
		})
		if a, b := h.get(key(0)), h.get(key(1)); (a == nil) == (b == nil) {
			t.Fatalf("round %d: of two that exclude each other there are %s and %s", round, describe(a), describe(b))
		}
	}
}

func oneMaker(t *testing.T, h *handle) {
	const workers = 8
	for round := range 10 {
		key := store.TaskKey(fmt.Sprint("task-", round))
		var made [workers]bool
		together(workers, func(i int) {
			err := h.Update(h.ctx, []store.Key{key}, func(tx store.Tx) error {
				made[i] = false
				there, err := store.Find[*store.Task](tx, key)
				if err != nil || there != nil {
					return err
				}
				made[i] = true
				return tx.Put(&store.Task{ID: key.ID, Session: fmt.Sprint(i)})
			})
			if err != nil {
				t.Errorf("Update: %v", err)
			}
		})
		makers := 0
		for i, m := range made {
			if m {
				makers++
				requireSame(t, "the record", h.get(key), &store.Task{ID: key.ID, Session: fmt.Sprint(i)})
			}
		}
		if makers != 1 {
			t.Fatalf("round %d: %d made the record", round, makers)
		}
	}
}

// failuresDisturbNobody mixes Updates that succeed with some that write the same records and fail or panic. A store may
// put them into one commit.
func failuresDisturbNobody(t *testing.T, h *handle) {
	const workers, each = 8, 30
	key := store.InstanceKey("counter")
	together(workers, func(w int) {
		for i := range each {
			err := attempt(h, key, (w+i)%4)
			if (w+i)%4 < 2 && err != nil {
				t.Errorf("Update: %v", err)
			}
		}
	})
	want := 0
	for w := range workers {
		for i := range each {
			if (w+i)%4 < 2 {
				want++
			}
		}
	}
	if got := count(h.get(key)); got != want {
		t.Fatalf("%d increments counted to %d", want, got)
	}
}

// attempt adds one. It then fails if how is 2, and panics if how is 3.
func attempt(h *handle, key store.Key, how int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return h.Update(h.ctx, []store.Key{key}, func(tx store.Tx) error {
		if err := add(tx, key, 1); err != nil {
			return err
		}
		switch how {
		case 2:
			return errOfCaller
		case 3:
			panic("on purpose")
		}
		return nil
	})
}
