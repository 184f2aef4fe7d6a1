package lease

import (
	"time"

	"github.com/berth-go/berth/store"
)

// Watch decides whether the holder of a lease is dead, from the successive states of the lease. The zero Watch has seen none.
type Watch struct {
	Term time.Duration // of a lease that names none

	holder      string
	fence, beat uint64
	since       time.Time // when this holder, fence and beat were first seen
}

// Dead reports whether the lease, as the caller sees it now, may be taken over: there is none, it was released, or its beat
// has not changed for its whole term. now is from the same clock in every call.
func (w *Watch) Dead(seen *store.Lease, now time.Time) bool {
	if seen == nil || seen.Holder == "" {
		return true
	}
	if w.since.IsZero() || w.holder != seen.Holder || w.fence != seen.Fence || w.beat != seen.Beat {
		w.holder, w.fence, w.beat, w.since = seen.Holder, seen.Fence, seen.Beat, now
	}
	term := seen.Term
	if term <= 0 {
		term = w.Term
	}
	return now.Sub(w.since) >= term
}
