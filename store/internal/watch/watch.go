// Package watch holds the channels that a store's Notify gives out, and the functions that its Watch calls.
package watch

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/berth-go/berth/store"
)

// Watchers has the channels that Notify has returned. The zero value has none.
type Watchers struct {
	n      atomic.Int64 // the number of channels and functions, so that a commit without watchers takes no lock
	mu     sync.Mutex
	byKey  map[store.Key][]chan struct{} // guarded by mu
	every  map[*func(store.Key)]struct{} // guarded by mu
	closed bool                          // guarded by mu
}

// Add is a store's Notify. After Close it returns a channel that has a value: the read that follows returns ErrClosed.
func (w *Watchers) Add(key store.Key) (wake <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		c <- struct{}{}
		return c, func() {}
	}
	if w.byKey == nil {
		w.byKey = map[store.Key][]chan struct{}{}
	}
	w.byKey[key] = append(w.byKey[key], c)
	w.n.Add(1)
	return c, sync.OnceFunc(func() { w.remove(key, c) })
}

func (w *Watchers) remove(key store.Key, c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.n.Add(-1)
	left := slices.DeleteFunc(w.byKey[key], func(d chan struct{}) bool { return d == c })
	if len(left) == 0 {
		delete(w.byKey, key)
		return
	}
	w.byKey[key] = left
}

// AddAll is a store's Watch. The functions are called with mu held, so that none is called after its stop.
func (w *Watchers) AddAll(touched func(store.Key)) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return func() {}
	}
	if w.every == nil {
		w.every = map[*func(store.Key)]struct{}{}
	}
	w.every[&touched] = struct{}{}
	w.n.Add(1)
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.closed {
			w.n.Add(-1)
			delete(w.every, &touched)
		}
	})
}

// Any reports whether there is a watcher.
func (w *Watchers) Any() bool { return w.n.Load() > 0 }

// Wake wakes the watchers of a key. It is called after the commit, so a watcher that wakes, or that begins to watch later, sees the
// commit.
func (w *Watchers) Wake(key store.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.byKey[key] {
		poke(c)
	}
	for touched := range w.every {
		(*touched)(key)
	}
}

// WakeAll tells everybody.
func (w *Watchers) WakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeAll()
}

func (w *Watchers) wakeAll() {
	for _, cs := range w.byKey {
		for _, c := range cs {
			poke(c)
		}
	}
	for touched := range w.every {
		(*touched)(store.Key{})
	}
}

// Close tells everybody, for the last time.
func (w *Watchers) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeAll()
	w.byKey, w.every, w.closed = nil, nil, true
	w.n.Store(0)
}

// poke puts a value into c unless there is one: several commits give one value.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
