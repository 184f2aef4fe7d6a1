package session

import (
	"maps"
	"sync"
	"time"

	"github.com/berth-go/berth/store"
)

// A session's lease lasts a tenth longer than its IdleTimeout. A renewal that would gain less than that tenth is left out:
// so many short commands cost few writes.
//
// Each renewal raises Beat. The planner ends a session if it has not seen Beat change for the lease's whole term, by its
// own monotonic clock. LeaseUntil is a wall time: it is for display, and a hint when to ask the container's agent, which
// measures by its own monotonic clock how long the session has been idle. So a step of a wall clock, or a difference
// between the clocks of two processes, neither ends a session nor keeps one.

// LeaseTerm is how long a lease lasts.
func LeaseTerm(idle time.Duration) time.Duration { return idle + idle/10 }

// leaseUntil is the end of a lease that begins at now. Zero = it does not end.
func leaseUntil(idle time.Duration, now time.Time) time.Time {
	if idle < 0 {
		return time.Time{}
	}
	return now.Add(LeaseTerm(idle))
}

// observation is what this process knows of a lease: its last Beat, and the time of that on the monotonic clock.
type observation struct {
	beat   uint64
	after  time.Time // the beat was written no earlier; zero = not known
	before time.Time // the beat was written no later
	looked time.Time // the last look at the lease
	failed time.Time // the last time that the agent could not be asked; zero = it could
}

// see records that a look, which took from asked to now, has shown a beat.
func (o *observation) see(beat uint64, asked, now time.Time) {
	switch {
	case o.looked.IsZero():
		o.beat, o.before = beat, now
	case o.beat != beat:
		o.beat, o.after, o.before = beat, o.looked, now
	}
	o.looked = asked
}

// fresh reports whether the lease was certainly renewed less than a tenth of its IdleTimeout ago.
func (o *observation) fresh(idle time.Duration, now time.Time) bool {
	return !o.after.IsZero() && now.Sub(o.after) < idle/10
}

// verdict is what an observation says of a lease.
type verdict int

const (
	leaseHolds   verdict = iota // it was renewed within its term
	leaseInDoubt                // neither is certain
	leaseOver                   // it was not renewed for its whole term
)

func (o *observation) verdict(idle time.Duration, now time.Time) verdict {
	term := LeaseTerm(idle)
	switch {
	case now.Sub(o.before) >= term:
		return leaseOver
	case !o.after.IsZero() && now.Sub(o.after) < term:
		return leaseHolds
	}
	return leaseInDoubt
}

// observations are those of the leases that this process renews or, as the planner, ends.
type observations struct {
	mu   sync.Mutex // protects byID
	byID map[string]*observation
}

// update changes the observation of a session's lease, and returns it.
func (l *observations) update(id string, change func(*observation)) observation {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID == nil {
		l.byID = make(map[string]*observation)
	}
	o := l.byID[id]
	if o == nil {
		o = new(observation)
		l.byID[id] = o
	}
	change(o)
	return *o
}

// see records what a look at a session's record has shown.
func (l *observations) see(r *store.Session, asked time.Time) observation {
	return l.update(r.ID, func(o *observation) { o.see(r.Beat, asked, time.Now()) })
}

// wrote records that this process has written a beat, for a use between two times.
func (l *observations) wrote(id string, beat uint64, after, before time.Time) {
	l.update(id, func(o *observation) { *o = observation{beat: beat, after: after, before: before, looked: before} })
}

// get returns the observation of a session's lease; the zero value if there is none.
func (l *observations) get(id string) (o observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seen := l.byID[id]; seen != nil {
		o = *seen
	}
	return o
}

func (l *observations) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byID, id)
}

// keep forgets all sessions but those that are wanted.
func (l *observations) keep(wanted func(id string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.byID, func(id string, _ *observation) bool { return !wanted(id) })
}
