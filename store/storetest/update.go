package storetest

import (
	"errors"
	"testing"

	"github.com/berth-go/berth/store"
)

var updateCases = []testCase{
	{"later reads see a commit", committedIsSeen},
	{"an Update sees its own writes", ownWrites},
	{"an error undoes every write and is returned as it is", errorUndoes},
	{"a panic undoes every write and the store works on", panicUndoes},
	{"the last write of a record counts", lastWriteCounts},
	{"deleting an absent record succeeds", deleteAbsent},
	{"getting an absent record is ErrNotFound", getAbsent},
	{"keys are no more than a hint", hints},
	{"an Update that writes nothing succeeds", noWrites},
	{"an Update may write hundreds of records", manyWrites},
	{"a function that runs again counts once", runsAgain},
}

func committedIsSeen(_ *testing.T, h *handle) {
	for i, like := range everyKind() {
		r := filled(like, i)
		h.put(r)
		h.holds([]store.Key{r.Key()}, r)
		h.update(func(tx store.Tx) error {
			_, err := getSame(tx, "in the next Update", r)
			return err
		}, r.Key())
	}
}

func ownWrites(_ *testing.T, h *handle) {
	before, after := filled(&store.Session{}, 1), filled(&store.Session{}, 2)
	after.ID = before.ID
	fresh := filled(&store.Task{}, 3)
	h.put(before)
	h.update(func(tx store.Tx) error {
		if err := errors.Join(tx.Put(after), tx.Put(fresh)); err != nil {
			return err
		}
		for _, want := range []store.Record{after, fresh} {
			if _, err := getSame(tx, "a record after Put", want); err != nil {
				return err
			}
			if err := tx.Delete(want.Key()); err != nil {
				return err
			}
			_, err := tx.Get(want.Key())
			if err := is("Get after Delete", err, store.ErrNotFound); err != nil {
				return err
			}
		}
		return tx.Put(fresh)
	}, before.Key(), fresh.Key())
	h.holds([]store.Key{before.Key(), fresh.Key()}, fresh)
}

var errOfCaller = errors.New("the caller's own error")

// half writes in every way: it replaces kept, deletes gone, and puts fresh.
func half(tx store.Tx, kept, gone, fresh *store.Session) error {
	changed := filled(&store.Session{}, 77)
	changed.ID = kept.ID
	return errors.Join(tx.Put(changed), tx.Delete(gone.Key()), tx.Put(fresh), tx.Delete(fresh.Key()), tx.Put(fresh))
}

func errorUndoes(t *testing.T, h *handle) {
	kept, gone, fresh := filled(&store.Session{}, 1), filled(&store.Session{}, 2), filled(&store.Session{}, 3)
	h.put(kept, gone)
	keys := []store.Key{kept.Key(), gone.Key(), fresh.Key()}
	err := h.Update(h.ctx, keys, func(tx store.Tx) error {
		if err := half(tx, kept, gone, fresh); err != nil {
			return err
		}
		return errOfCaller
	})
	if err != errOfCaller { //nolint:errorlint // as it is, not wrapped
		t.Fatalf("Update returned %v, want the function's own error", err)
	}
	h.holds(keys, kept, gone)
	h.agrees(kept, gone)
}

func panicUndoes(t *testing.T, h *handle) {
	kept, gone, fresh := filled(&store.Session{}, 1), filled(&store.Session{}, 2), filled(&store.Session{}, 3)
	h.put(kept, gone)
	keys := []store.Key{kept.Key(), gone.Key(), fresh.Key()}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not reach the caller")
			}
		}()
		_ = h.Update(h.ctx, keys, func(tx store.Tx) error {
			_ = half(tx, kept, gone, fresh)
			panic("on purpose")
		})
	}()
	h.holds(keys, kept, gone)
	h.put(fresh)
	h.agrees(kept, gone, fresh)
}

func lastWriteCounts(_ *testing.T, h *handle) {
	a, b := filled(&store.Instance{}, 1), filled(&store.Instance{}, 2)
	b.ID = a.ID
	keys := []store.Key{a.Key()}
	h.update(func(tx store.Tx) error { return errors.Join(tx.Put(a), tx.Put(b)) }, keys...)
	h.holds(keys, b)
	h.update(func(tx store.Tx) error { return errors.Join(tx.Put(a), tx.Delete(a.Key())) }, keys...)
	h.holds(keys)
	h.update(func(tx store.Tx) error { return errors.Join(tx.Delete(a.Key()), tx.Put(a)) }, keys...)
	h.holds(keys, a)
}

func deleteAbsent(_ *testing.T, h *handle) {
	for i, like := range everyKind() {
		key := filled(like, i).Key()
		h.delete(key)
		h.update(func(tx store.Tx) error { return errors.Join(tx.Delete(key), tx.Delete(key)) })
	}
}

func getAbsent(_ *testing.T, h *handle) {
	for i, like := range everyKind() {
		key := filled(like, i).Key()
		h.update(func(tx store.Tx) error {
			_, err := tx.Get(key)
			return is("Tx.Get of an absent "+key.Kind.String(), err, store.ErrNotFound)
		})
		h.view(func(v store.View) error {
			_, err := v.Get(key)
			return is("View.Get of an absent "+key.Kind.String(), err, store.ErrNotFound)
		})
	}
}

func hints(t *testing.T, h *handle) {
	a, b, c := filled(&store.Task{}, 1), filled(&store.Lease{}, 2), filled(&store.Container{}, 3)
	absent := store.TaskKey("absent")
	all := []store.Key{a.Key(), b.Key(), c.Key()}
	for _, keys := range [][]store.Key{
		nil,
		{a.Key()},
		{absent},
		{c.Key(), b.Key(), a.Key()},
		{a.Key(), a.Key(), absent, absent},
	} {
		h.update(func(tx store.Tx) error {
			for _, key := range all {
				if _, err := tx.Get(key); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("%s is there: %v", key, err)
				}
			}
			return errors.Join(tx.Put(a), tx.Put(b), tx.Put(c))
		}, keys...)
		h.holds(append(all, absent), a, b, c)
		h.update(func(tx store.Tx) error {
			return errors.Join(tx.Delete(a.Key()), tx.Delete(b.Key()), tx.Delete(c.Key()))
		}, keys...)
		h.holds(all)
	}
}

func noWrites(_ *testing.T, h *handle) {
	r := filled(&store.Task{}, 1)
	h.put(r)
	h.update(func(store.Tx) error { return nil })
	h.update(func(store.Tx) error { return nil }, r.Key(), store.TaskKey("absent"))
	h.update(func(tx store.Tx) error { _, err := tx.Get(r.Key()); return err })
	h.holds([]store.Key{r.Key()}, r)
}

func manyWrites(_ *testing.T, h *handle) {
	var sessions []*store.Session
	for i := range 500 {
		sessions = append(sessions, filled(&store.Session{}, i))
	}
	h.update(func(tx store.Tx) error {
		for _, s := range sessions {
			if err := tx.Put(s); err != nil {
				return err
			}
		}
		return nil
	})
	h.agrees(sessions...)
}

// runsAgain counts in a record and in a variable: the record shows how often a run was committed.
func runsAgain(t *testing.T, h *handle) {
	key := store.InstanceKey("counter")
	runs := 0
	for range 20 {
		h.update(func(tx store.Tx) error { runs++; return add(tx, key, 1) })
	}
	if got := count(h.get(key)); got != 20 || runs < 20 {
		t.Fatalf("20 Updates ran %d times and counted to %d", runs, got)
	}
}

// add adds to the number of sessions of an instance. It makes the instance if there is none.
func add(tx store.Tx, key store.Key, n int) error {
	in, err := store.Find[*store.Instance](tx, key)
	if err != nil {
		return err
	}
	if in == nil {
		in = &store.Instance{ID: key.ID, State: store.InstanceReady}
	}
	in.Sessions += n
	return tx.Put(in)
}

func count(r store.Record) int {
	if in, ok := r.(*store.Instance); ok && in != nil {
		return in.Sessions
	}
	return 0
}
