package sqlitestore

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/berth-go/berth/store"
)

// TestNoRoom bounds the database. An Update that does not fit fails. The Updates that share its commit do not.
func TestNoRoom(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "berth.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.writer.mu.Lock()
	if _, err := s.writer.c.number("PRAGMA max_page_count = 60"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	put := func(id, message string, want error) {
		all.Go(func() {
			r := &store.Session{ID: id, State: store.SessionEnded, End: store.Failure{Message: message}}
			err := s.Update(t.Context(), []store.Key{r.Key()}, func(tx store.Tx) error { return tx.Put(r) })
			if !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("%s: error %v, want %v", id, err, want)
			}
		})
	}
	for _, id := range []string{"a", "b", "c"} {
		put(id, "small", nil)
		put("large "+id, strings.Repeat("large ", 100_000), ErrFull)
	}
	s.writer.mu.Unlock() // from here on they share commits
	all.Wait()
	found := ""
	for r, err := range store.Sessions(t.Context(), s, store.SessionQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		found += r.ID
	}
	if found != "abc" {
		t.Errorf("found %q, want those that fit", found)
	}
}
