package dashboard

import (
	"slices"
	"sync"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/store"
)

// source collects what has changed in the store since it was read, and says when it is to be read again.
//
// The store is read at most once in leastPause, and never for more than a part of the time: after readings that usually take d, the
// next one comes after share*d at the earliest. So the cost of a large and busy pool is bounded, and a small one is followed at once.
type source struct {
	console berth.Console
	wake    chan struct{} // has a value if there is something to read

	mu      sync.Mutex             // protects what follows; held for moments
	watched bool                   // touched is called with each change
	stop    func()                 // of the watch; nil = there is none
	events  func()                 // stops the events of this process
	dirty   map[store.Key]struct{} // changed since the last reading
	all     bool                   // anything may have changed
	heard   []event                // of this process, since the last reading
	next    time.Time              // when changes may be read again
	nextAll time.Time              // when everything may be read again
	cost    time.Duration          // of showing the model since the last reading
	costs   [5]time.Duration       // of the last readings, each with what it has cost to show the model before it
	nth     int                    // counts the readings
	idle    *time.Timer            // forgets the model
}

const (
	leastPause = 500 * time.Millisecond
	share      = 40     // a 40th of the time is 2.5 %; what connections cost comes on top
	mostDirty  = 20_000 // keys; beyond that, all is read
	idleAfter  = 10 * time.Minute
	pollAfter  = 10 * time.Second // a store without Watch is read so often
)

func (s *source) init(c berth.Console) {
	s.console, s.wake, s.dirty = c, make(chan struct{}, 1), map[store.Key]struct{}{}
}

// touched is called by the store.
func (s *source) touched(key store.Key) {
	switch key.Kind {
	case 0, store.KindSession, store.KindContainer, store.KindInstance, store.KindPool:
	case store.KindLease:
		if key.ID != leasePlanner {
			return
		}
	default:
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key.Kind == 0 {
		s.all = true
	} else {
		s.dirty[key] = struct{}{}
	}
	if len(s.dirty) > mostDirty {
		s.all = true
		clear(s.dirty)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// leasePlanner is the ID of the lease of the process that plans.
const leasePlanner = "planner"

// due reports whether there is something to read, and it may be read now.
func (s *source) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	return len(s.dirty)+len(s.heard) > 0 && !now.Before(s.next) || (s.all || !s.watched) && !now.Before(s.nextAll)
}

// wantsAll reports whether everything is to be read.
func (s *source) wantsAll() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// pause is how long to wait until there may be something that may be read.
func (s *source) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.dirty)+len(s.heard) > 0:
		return max(time.Until(s.next), 0)
	case s.all || !s.watched:
		return max(time.Until(s.nextAll), 0)
	}
	return pollAfter
}

// local takes an event of this process. A container's progress replaces what it said before.
func (s *source) local(e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.heard {
		if h := &s.heard[i]; h.Type == e.Type && e.Type == string(berth.EventProgress) && h.Container == e.Container && h.Instance == e.Instance {
			*h = e
			return
		}
	}
	if s.heard = append(s.heard, e); len(s.heard) > mostEvents {
		s.heard = s.heard[len(s.heard)-mostEvents:]
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// takeHeard returns the events of this process since the last call.
func (s *source) takeHeard() []event {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard := s.heard
	s.heard = nil
	return heard
}

// take returns what to read. fresh says that nothing was read before.
func (s *source) take(fresh bool) (dirty map[store.Key]struct{}, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = fresh || (s.all || !s.watched) && !time.Now().Before(s.nextAll)
	dirty, s.dirty, s.all = s.dirty, map[store.Key]struct{}{}, s.all && !all
	return dirty, all
}

// giveBack is called when what take returned could not be read.
func (s *source) giveBack(dirty map[store.Key]struct{}, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = s.all || all
	for key := range dirty {
		s.dirty[key] = struct{}{}
	}
}

// rendered records what it has cost to show the model. The reading after the next one comes later for it.
func (s *source) rendered(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cost += d
}

// readAgain says how long a reading has taken. When everything is read, that delays the next time alone.
func (s *source) readAgain(d time.Duration, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if all {
		s.nextAll = now.Add(max(2*leastPause, share*d))
		d = 0
	}
	s.costs[s.nth%len(s.costs)] = s.cost + d
	s.nth++
	s.cost = 0
	sorted := s.costs
	slices.Sort(sorted[:])
	s.next = now.Add(max(leastPause, share*sorted[len(sorted)/2])) // one that was kept waiting by others does not count
}

// watch begins to watch the store, unless it is watched. Some time after the last call of used, forget is called. One goroutine
// at a time calls watch or unwatch. mu is not held meanwhile: the store holds a lock of its own while it calls touched.
func (s *source) watch(forget func(), event func(berth.Event)) {
	s.mu.Lock()
	begun := s.stop != nil
	s.mu.Unlock()
	if begun {
		return
	}
	stop, watched := s.console.Watch(s.touched)
	events := s.console.Events(event)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop, s.watched, s.events = stop, watched, events
	s.idle = time.AfterFunc(idleAfter, forget)
}

func (s *source) used() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle != nil {
		s.idle.Reset(idleAfter)
	}
}

// unwatch ends the watch.
func (s *source) unwatch() {
	s.mu.Lock()
	stop, events := s.stop, s.events
	if s.idle != nil {
		s.idle.Stop()
	}
	s.stop, s.events, s.idle = nil, nil, nil
	clear(s.dirty)
	s.mu.Unlock()
	if stop != nil {
		stop()
		events()
	}
}
