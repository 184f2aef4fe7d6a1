package memstore

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/berth-go/berth/store"
)

// watchers are the channels that Notify has given out.
type watchers struct {
	n      atomic.Int64 // how many there are, so that a commit which nobody watches takes no lock
	mu     sync.Mutex
	byKey  map[store.Key][]chan struct{} // guarded by mu
	closed bool                          // guarded by mu
}

func (w *watchers) add(key store.Key) (<-chan struct{}, func()) {
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

func (w *watchers) remove(key store.Key, c chan struct{}) {
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

// any reports whether somebody watches anything.
func (w *watchers) any() bool { return w.n.Load() > 0 }

// wake tells those who watch that key. It is called while the store is locked, after the commit: whoever wakes and
// looks sees it, and whoever begins to watch later does too.
func (w *watchers) wake(key store.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.byKey[key] {
		poke(c)
	}
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, cs := range w.byKey {
		for _, c := range cs {
			poke(c)
		}
	}
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
