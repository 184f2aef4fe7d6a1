package store_test

import (
	"errors"
	"testing"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// put writes a record.
func put(t *testing.T, st store.Store, r store.Record) {
	t.Helper()
	if err := st.Update(t.Context(), []store.Key{r.Key()}, func(tx store.Tx) error { return tx.Put(r) }); err != nil {
		t.Fatal(err)
	}
}

func TestFenced(t *testing.T) {
	held := store.Lease{ID: "leader", Holder: "a", Fence: 7}
	for _, c := range []struct {
		what   string
		stored *store.Lease
		want   error
	}{
		{"the same", &held, nil},
		{"none", nil, store.ErrFenced},
		{"another holder", &store.Lease{ID: "leader", Holder: "b", Fence: 7}, store.ErrFenced},
		{"the same holder, later", &store.Lease{ID: "leader", Holder: "a", Fence: 8}, store.ErrFenced},
	} {
		t.Run(c.what, func(t *testing.T) {
			st := memstore.New()
			if c.stored != nil {
				put(t, st, c.stored)
			}
			task := &store.Task{ID: "t"}
			keys := make([]store.Key, 1, 2) // has room for one more, which is not Update's to use
			keys[0] = task.Key()
			ran := false
			err := store.Fenced(st, held).Update(t.Context(), keys, func(tx store.Tx) error {
				ran = true
				return tx.Put(task)
			})
			if !errors.Is(err, c.want) || ran != (c.want == nil) {
				t.Errorf("error %v, ran %v", err, ran)
			}
			if keys[:2][1] != (store.Key{}) {
				t.Error("it wrote to the caller's keys")
			}
			written, err := store.Read[*store.Task](t.Context(), st, task.Key())
			if err != nil || (written != nil) != (c.want == nil) {
				t.Errorf("the record: %v, %v", written, err)
			}
		})
	}
}

func TestRead(t *testing.T) {
	st := memstore.New()
	put(t, st, &store.Task{ID: "t", Session: "s"})
	if got, err := store.Read[*store.Task](t.Context(), st, store.TaskKey("t")); err != nil || got.Session != "s" {
		t.Errorf("Read: %v, %v", got, err)
	}
	if got, err := store.Read[*store.Task](t.Context(), st, store.TaskKey("absent")); got != nil || err != nil {
		t.Errorf("Read of an absent record: %v, %v", got, err)
	}
	if _, err := store.ReadPool(t.Context(), st); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("ReadPool before there is one: %v", err)
	}
	put(t, st, &store.Pool{UID: "p"})
	if got, err := store.ReadPool(t.Context(), st); err != nil || got == nil {
		t.Errorf("ReadPool: %v, %v", got, err)
	}
	st.Close()
	if _, err := store.Read[*store.Task](t.Context(), st, store.TaskKey("t")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Read from a closed store: %v", err)
	}
	if _, err := store.ReadPool(t.Context(), st); !errors.Is(err, store.ErrClosed) {
		t.Errorf("ReadPool from a closed store: %v", err)
	}
}
