package orchestrator

import "sync"

// tasks owns the goroutines of a Manager: those of keepers, connections and visits, and the goroutines that these start.
// The zero value is ready for use.
type tasks struct {
	mu     sync.Mutex // protects closed; held while a goroutine is added, so that none is added while close waits
	closed bool
	going  sync.WaitGroup
}

// spawn runs fn in a goroutine that close waits for. It returns false, and does nothing, if close was called.
func (t *tasks) spawn(fn func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.going.Go(fn)
	}
	return !t.closed
}

// close refuses new goroutines, calls cancel, and returns when the running ones have ended. It reports whether it is the
// first call.
func (t *tasks) close(cancel func()) (first bool) {
	t.mu.Lock()
	first, t.closed = !t.closed, true
	t.mu.Unlock()
	cancel()
	t.going.Wait()
	return first
}
