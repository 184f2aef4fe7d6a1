package pgstore_test

import (
	"crypto/rand"
	"fmt"
	"sync"
	"testing"

	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/pgstore"
	"github.com/berth-go/berth/store/storetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// open returns a store that is closed when the test ends.
func open(t testing.TB, dsn string, opts pgstore.Options) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Open(t.Context(), dsn, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fresh returns a function that makes empty stores, each in a schema of its own. All are in one database, which is quicker.
func fresh(t *testing.T) func(*testing.T) store.Store {
	server := pgtest.Shared(t)
	dsn := server.DSN(server.Database(t))
	n := 0
	return func(t *testing.T) store.Store {
		n++
		return open(t, dsn, pgstore.Options{Schema: fmt.Sprint("pool_", n)})
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, fresh(t))
}

func TestStoreThatRunsFunctionsAgain(t *testing.T) {
	t.Parallel()
	empty := fresh(t)
	storetest.Run(t, func(t *testing.T) store.Store { return storetest.Again(empty(t)) })
}

func TestShared(t *testing.T) {
	t.Parallel()
	storetest.RunShared(t, func(t *testing.T) func() store.Store {
		server := pgtest.Shared(t)
		dsn := server.DSN(server.Database(t))
		return func() store.Store { return open(t, dsn, pgstore.Options{}) }
	})
}

// TestNewIDInEveryRun has functions that ask for keys which no caller could name before.
func TestNewIDInEveryRun(t *testing.T) {
	t.Parallel()
	s := fresh(t)(t)
	ctx := bounded(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				var key store.Key
				err := s.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
					task := &store.Task{ID: rand.Text()}
					key = task.Key()
					return tx.Put(task)
				})
				if err == nil {
					err = s.View(ctx, func(v store.View) error { _, err := v.Get(key); return err })
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
