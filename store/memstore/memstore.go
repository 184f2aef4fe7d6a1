// Package memstore keeps a pool's records in this process's memory.
//
// It serves one process. It is for tests, and for applications that can do without their sessions after a restart. It is also
// the reference: the tests compare the other stores with it, call by call.
//
// Updates run one at a time and write in place. While a View runs, a record that is written keeps the version that the View
// sees. So a View costs the same however large the store is, and no lock is held while its function runs. While no View
// runs, no old version is kept.
package memstore

import (
	"context"
	"sync"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/internal/watch"
)

// Store is a [store.Store] in memory. Make one with [New].
type Store struct {
	// mu is held while an Update and its function run, and for each call of a View. None of them does I/O or waits, so
	// waiting for mu is short and ignores contexts.
	mu     sync.Mutex
	data   *data // guarded by mu
	closed bool  // guarded by mu

	watch watch.Watchers
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Watcher = (*Store)(nil)
)

// New returns an empty store.
func New() *Store { return &Store{data: newData()} }

// InProcess implements what [store.InProcess] asks for.
func (s *Store) InProcess() bool { return true }

// View implements [store.Store].
func (s *Store) View(ctx context.Context, fn func(store.View) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return store.ErrClosed
	}
	v := &view{mu: &s.mu, data: s.data, seq: s.data.open()}
	s.mu.Unlock()
	defer v.end() // also when fn panics, or leaves by runtime.Goexit as t.FailNow does
	return fn(v)
}

// Update implements [store.Store]. It has no use for keys. fn must not call the store.
func (s *Store) Update(ctx context.Context, _ []store.Key, fn func(store.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t := s.data.begin()
	defer t.end() // see View
	if err := fn(t); err != nil {
		return err
	}
	t.commit()
	if s.watch.Any() {
		for i := range t.undo {
			s.watch.Wake(t.undo[i].row.key)
		}
	}
	return nil
}

// Notify implements [store.Store]. After Close it returns a channel that has a value: the read that follows returns
// ErrClosed.
func (s *Store) Notify(key store.Key) (wake <-chan struct{}, stop func()) { return s.watch.Add(key) }

// Watch implements [store.Watcher].
func (s *Store) Watch(touched func(store.Key)) (stop func()) { return s.watch.AddAll(touched) }

// Close implements [store.Store]. It wakes the watchers, for no commit will come. A View that runs may go on
// to its end.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.data = nil
	s.mu.Unlock()
	s.watch.Close()
	return nil
}
