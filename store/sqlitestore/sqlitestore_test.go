package sqlitestore_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

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

// TestVirtualTime watches a record in a bubble, where a goroutine that is left behind fails the test, while ten minutes pass
// in which the store looks for the commits of other processes.
func TestVirtualTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	synctest.Test(t, func(t *testing.T) {
		s, err := sqlitestore.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		wake, stop := s.Notify(counter)
		go func() {
			time.Sleep(10 * time.Minute)
			if err := s.Update(t.Context(), nil, appendOne); err != nil {
				t.Errorf("Update: %v", err)
			}
		}()
		began := time.Now()
		<-wake
		if waited := time.Since(began); waited < 10*time.Minute {
			t.Errorf("woken after %v by nobody", waited)
		}
		stop()
		if n := logLength(t, s); n != 1 {
			t.Errorf("a log of %d, want 1", n)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}
