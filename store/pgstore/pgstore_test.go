package pgstore_test

import (
	"testing"

	"github.com/berth-go/berth/internal/pgtest"
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

func fresh(t *testing.T) store.Store {
	server := pgtest.Shared(t)
	return open(t, server.DSN(server.Database(t)), pgstore.Options{})
}

func TestStore(t *testing.T) { storetest.Run(t, fresh) }

func TestStoreThatRunsFunctionsAgain(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return storetest.Again(fresh(t)) })
}

func TestShared(t *testing.T) {
	storetest.RunShared(t, func(t *testing.T) func() store.Store {
		server := pgtest.Shared(t)
		dsn := server.DSN(server.Database(t))
		return func() store.Store { return open(t, dsn, pgstore.Options{}) }
	})
}
