package memstore_test

import (
	"testing"
	"testing/synctest"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
	"github.com/berth-go/berth/store/storetest"
)

// There is no call of storetest.RunShared: this store has one handle, and ends with its process.

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return memstore.New() })
}

func TestStoreThatRunsFunctionsAgain(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return storetest.Again(memstore.New()) })
}

// TestVirtualTime watches a record in a bubble, where a goroutine that is left behind fails the test, and so does a
// store that waits for anything but its caller.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		key := store.TaskKey("t")
		wake, stop := s.Notify(key)
		go func() {
			err := s.Update(t.Context(), nil, func(tx store.Tx) error { return tx.Put(&store.Task{ID: key.ID}) })
			if err != nil {
				t.Errorf("Update: %v", err)
			}
		}()
		<-wake
		err := s.View(t.Context(), func(v store.View) error {
			synctest.Wait()
			_, err := v.Get(key)
			return err
		})
		if err != nil {
			t.Errorf("View: %v", err)
		}
		stop()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}
