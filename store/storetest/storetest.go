// Package storetest is the conformance suite of [store.Store].
//
// The test file of an implementation is a few lines:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store { return memstore.New() })
//	}
//
// An implementation whose records outlive a handle, or that several handles can share, also calls [RunShared].
//
// [Again] is for tests of code that uses a store: it finds functions that may not run twice.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

// Run tests a store. open returns an empty store that nobody else uses, and Run closes it.
//
// Each case has the name of the rule that it checks. The last case compares the store with a model by random calls,
// with pgregory.net/rapid. -rapid.checks=10000 makes it run longer.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	groups := []struct {
		name  string
		cases []testCase
	}{
		{"Update", updateCases},
		{"Records", recordCases},
		{"Concurrency", concurrencyCases},
		{"Views", viewCases},
		{"Queries", queryCases},
		{"Order", orderCases},
		{"Notify", notifyCases},
		{"Lease", leaseCases},
		{"Life", lifeCases},
		{"Model", modelCases},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases {
				t.Run(c.rule, func(t *testing.T) {
					s := open(t)
					t.Cleanup(func() { _ = s.Close() })
					c.test(t, newHandle(t, s))
				})
			}
		})
	}
}

// testCase is one rule of the contract.
type testCase struct {
	rule string
	test func(t *testing.T, h *handle)
}

// patience is how long a case may take before it reports that a call hangs. A machine may be busy with other tests.
const patience = 3 * time.Minute

// handle is a store with shorthands for these tests. Their calls must succeed.
type handle struct {
	store.Store
	t   testing.TB
	ctx context.Context
}

func newHandle(t testing.TB, s store.Store) *handle {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return &handle{Store: s, t: t, ctx: ctx}
}

// update runs fn, with the keys that it will use.
func (h *handle) update(fn func(store.Tx) error, keys ...store.Key) {
	h.t.Helper()
	if err := h.Update(h.ctx, keys, fn); err != nil {
		h.t.Fatalf("Update: %v", err)
	}
}

// put stores records, some hundred per Update.
func (h *handle) put(records ...store.Record) {
	h.t.Helper()
	const most = 200
	for len(records) > 0 {
		part := records[:min(most, len(records))]
		records = records[len(part):]
		h.update(func(tx store.Tx) error {
			for _, r := range part {
				if err := tx.Put(r); err != nil {
					return err
				}
			}
			return nil
		}, keysOf(part)...)
	}
}

// delete removes records.
func (h *handle) delete(keys ...store.Key) {
	h.t.Helper()
	h.update(func(tx store.Tx) error {
		for _, key := range keys {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	}, keys...)
}

// view runs fn.
func (h *handle) view(fn func(store.View) error) {
	h.t.Helper()
	if err := h.View(h.ctx, fn); err != nil {
		h.t.Fatalf("View: %v", err)
	}
}

// get returns the record of that key, or nil.
func (h *handle) get(key store.Key) (r store.Record) {
	h.t.Helper()
	h.view(func(v store.View) (err error) {
		r, err = v.Get(key)
		if errors.Is(err, store.ErrNotFound) {
			r, err = nil, nil
		}
		return err
	})
	return r
}

// holds fails the test unless the store has exactly these records under keys.
func (h *handle) holds(keys []store.Key, want ...store.Record) {
	h.t.Helper()
	byKey := map[store.Key]store.Record{}
	for _, r := range want {
		byKey[r.Key()] = r
	}
	for _, key := range keys {
		requireSame(h.t, key.String(), h.get(key), byKey[key])
	}
}

func keysOf[R store.Record](records []R) []store.Key {
	keys := make([]store.Key, len(records))
	for i, r := range records {
		keys[i] = r.Key()
	}
	return keys
}

// requireSame fails the test unless got is want, as far as a store keeps it. nil stands for an absent record.
func requireSame(t testing.TB, what string, got, want store.Record) {
	t.Helper()
	if err := same(what, got, want); err != nil {
		t.Fatal(err)
	}
}

// same is requireSame for the function of an Update, which must not call t.FailNow: a store may run it on a goroutine
// of its own.
func same(what string, got, want store.Record) error {
	if reflect.DeepEqual(got, want) {
		return nil // describing takes long
	}
	if g, w := describe(got), describe(want); g != w {
		return fmt.Errorf("%s:\n got  %s\n want %s", what, g, w)
	}
	return nil
}

// is returns an error unless err is want.
func is(what string, err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s: error %v, want %v", what, err, want)
	}
	return nil
}

func requireIs(t testing.TB, what string, err, want error) {
	t.Helper()
	if err := is(what, err, want); err != nil {
		t.Fatal(err)
	}
}

// getSame gets a record and returns an error unless it is want.
func getSame(from store.Getter, what string, want store.Record) (store.Record, error) {
	got, err := from.Get(want.Key())
	if err == nil {
		err = same(what, got, want)
	}
	return got, err
}
