package sqlitestore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

// TestLogDoesNotGrowWhileViewsOverlap has one View begin before the one before it ends, all the time.
func TestLogDoesNotGrowWhileViewsOverlap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.mostLog = 1 << 20
	stop := make(chan struct{})
	var views sync.WaitGroup
	begun := [2]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)}
	for i := range begun {
		views.Go(func() {
			for {
				err := s.View(t.Context(), func(v store.View) error {
					if _, err := v.Sessions(store.SessionQuery{Page: store.Page{Limit: 1}}); err != nil {
						return err
					}
					select {
					case begun[i] <- struct{}{}:
					default:
					}
					select {
					case <-begun[1-i]: // the other one has begun after this one
					case <-time.After(50 * time.Millisecond): // or must not
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	text := strings.Repeat("x", 8<<10)
	longest := int64(0)
	for i := range 10 * logEvery { // 20 MB
		r := &store.Session{ID: fmt.Sprint("s", i%50), State: store.SessionEnded, End: store.Failure{Message: fmt.Sprint(i, text)}}
		if err := s.Update(t.Context(), []store.Key{r.Key()}, func(tx store.Tx) error { return tx.Put(r) }); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path + "-wal"); err == nil {
			longest = max(longest, info.Size())
		}
	}
	close(stop)
	views.Wait()
	if longest > 12<<20 {
		t.Errorf("the log had %d MB", longest>>20)
	}
}
