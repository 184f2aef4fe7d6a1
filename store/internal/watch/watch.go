// Package watch holds the channels that a store's Notify gives out.
package watch

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/berth-go/berth/store"
)

// Watchers are the channels that Notify has given out. The zero value has none.
type Watchers struct {
	n      atomic.Int64 // how many there are, so that a commit which nobody watches takes no lock
	mu     sync.Mutex
	byKey  map[store.Key][]chan struct{} // guarded by mu
	closed bool                          // guarded by mu
}

// Add is a store's Notify. After Close it returns a channel that has a value: whoever looks then, sees ErrClosed.
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

// Any reports whether somebody watches anything.
func (w *Watchers) Any() bool { return w.n.Load() > 0 }

// Wake tells those who watch that key. It is called after the commit: whoever wakes and looks sees it, and whoever
// begins to watch later does too.
func (w *Watchers) Wake(key store.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.byKey[key] {
		poke(c)
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
}

// Close tells everybody, for the last time.
func (w *Watchers) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeAll()
	w.byKey, w.closed = nil, true
	w.n.Store(0)
}

// poke puts a value into c unless there is one: several commits give one value.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
