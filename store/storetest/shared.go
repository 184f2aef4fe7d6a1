package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/berth-go/berth/store"
)

// RunShared tests a store that several handles share, in one process or in many, and that outlives them. Each call of
// create makes an empty store and returns how to open a handle on it; RunShared closes the handles.
func RunShared(t *testing.T, create func(t *testing.T) (open func() store.Store)) {
	for _, c := range []struct {
		rule string
		test func(t *testing.T, open func() *handle)
	}{
		{"what one handle committed, another sees at once", sharedSees},
		{"commits are there when the store is opened again", outlivesHandle},
		{"no update is lost between handles", sharedLosesNothing},
		{"two handles that each look for what the other makes do not both miss it", sharedNoPhantom},
		{"a commit by one handle wakes the watchers of another", sharedWakes},
		{"closing one handle leaves the others open", sharedClose},
	} {
		t.Run(c.rule, func(t *testing.T) {
			open := create(t)
			c.test(t, func() *handle {
				s := open()
				t.Cleanup(func() { _ = s.Close() })
				return newHandle(t, s)
			})
		})
	}
}

func sharedSees(_ *testing.T, open func() *handle) {
	a, b := open(), open()
	for i, like := range everyKind() {
		r := filled(like, i)
		a.put(r)
		b.holds([]store.Key{r.Key()}, r)
		b.delete(r.Key())
		a.holds([]store.Key{r.Key()})
	}
}

func outlivesHandle(t *testing.T, open func() *handle) {
	var all []store.Record
	for i, like := range everyKind() {
		all = append(all, filled(like, i))
	}
	first := open()
	first.put(all...)
	if err := first.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	second := open()
	second.holds(keysOf(all), all...)
	for _, r := range all {
		second.comesBack(r)
	}
}

func sharedLosesNothing(t *testing.T, open func() *handle) {
	const each = 100
	handles := []*handle{open(), open(), open(), open()}
	a, b := store.InstanceKey("a"), store.InstanceKey("b")
	together(len(handles), func(w int) {
		for i := range each {
			keys := [][]store.Key{nil, {a}, {a, b}, {b, a}}[(w+i)%4]
			err := handles[w].Update(handles[w].ctx, keys, func(tx store.Tx) error {
				return errors.Join(add(tx, a, 1), add(tx, b, -1))
			})
			if err != nil {
				t.Errorf("Update: %v", err)
			}
		}
	})
	if up, down := count(handles[0].get(a)), count(handles[1].get(b)); up != len(handles)*each || down != -up {
		t.Fatalf("%d updates counted to %d and %d", len(handles)*each, up, down)
	}
}

func sharedNoPhantom(t *testing.T, open func() *handle) {
	handles := []*handle{open(), open()}
	for round := range 40 {
		key := func(i int) store.Key { return store.TaskKey(fmt.Sprint("claim-", round, "-", i)) }
		together(2, func(i int) {
			err := handles[i].Update(handles[i].ctx, []store.Key{key(i)}, func(tx store.Tx) error {
				other, err := store.Find[*store.Task](tx, key(1-i))
				if err != nil || other != nil {
					return err
				}
				return tx.Put(&store.Task{ID: key(i).ID})
			})
			if err != nil {
				t.Errorf("Update: %v", err)
			}
		})
		if a, b := handles[0].get(key(0)), handles[0].get(key(1)); (a == nil) == (b == nil) {
			t.Fatalf("round %d: of two that exclude each other there are %s and %s", round, describe(a), describe(b))
		}
	}
}

func sharedWakes(t *testing.T, open func() *handle) {
	a, b := open(), open()
	for i, like := range everyKind() {
		r := filled(like, i)
		wake, stop := b.Notify(r.Key())
		a.put(r)
		requireWake(t, r.Key().String(), wake)
		stop()
	}
}

func sharedClose(t *testing.T, open func() *handle) {
	a, b := open(), open()
	if err := a.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	r := filled(&store.Session{}, 1)
	b.put(r)
	b.agrees(r)
}
