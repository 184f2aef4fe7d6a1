package sqlitestore_test

import (
	"path/filepath"
	"testing"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/sqlitestore"
	"github.com/berth-go/berth/store/storetest"
)

func openAt(t testing.TB, path string) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openAt(t, filepath.Join(t.TempDir(), "berth.db")) })
}

func TestSharedStore(t *testing.T) {
	storetest.RunShared(t, func(t *testing.T) func() store.Store {
		path := filepath.Join(t.TempDir(), "berth.db")
		return func() store.Store { return openAt(t, path) }
	})
}
