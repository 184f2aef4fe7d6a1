package memstore

import (
	"sync"

	"github.com/berth-go/berth/store"
)

// view reads the records as of one commit.
type view struct {
	mu   *sync.Mutex // the Store's; held for each call
	data *data       // nil when the function has returned; guarded by mu
	seq  uint64      // of the commit that it sees
}

func (v *view) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.data.release(v.seq)
	v.data = nil
}

// Get implements [store.View].
func (v *view) Get(key store.Key) (store.Record, error) {
	v.mu.Lock()
	over := v.data == nil
	var r store.Record
	if !over {
		r = v.data.find(key).at(v.seq)
	}
	v.mu.Unlock()
	switch {
	case over:
		return nil, errOver
	case r == nil:
		return nil, notFound(key)
	}
	return r.Clone(), nil
}

// Instances implements [store.View].
func (v *view) Instances(q store.InstanceQuery) ([]*store.Instance, error) {
	s := search[*store.Instance]{kind: store.KindInstance, page: q.Page}
	s.matches = func(r *store.Instance) bool { return oneOf(q.States, r.State) }
	if q.Placeable {
		s.ordered(inRoom, instancesByRoom, ^uint64(0))
	} else {
		s.value(entry{index: instancesByState}, codes(instanceStates[:], q.States))
	}
	return s.run(v)
}

// Containers implements [store.View].
func (v *view) Containers(q store.ContainerQuery) ([]*store.Container, error) {
	s := search[*store.Container]{kind: store.KindContainer, page: q.Page}
	s.matches = func(r *store.Container) bool {
		return (q.Instance == "" || r.Instance == q.Instance) && (q.Owner == "" || r.Owner == q.Owner) &&
			oneOf(q.States, r.State)
	}
	states := codes(containerStates[:], q.States)
	switch {
	case q.Instance != "":
		s.value(equal(containersByInstance, q.Instance), states)
	default:
		s.value(entry{index: containersByState}, states)
	}
	return s.run(v)
}

// Sessions implements [store.View]. Of the indexes that a query could use it takes the first of the list below: those
// that give an order must come first, and of the others those that hold the fewest sessions per value.
func (v *view) Sessions(q store.SessionQuery) ([]*store.Session, error) {
	s := search[*store.Session]{kind: store.KindSession, page: q.Page}
	s.matches = func(r *store.Session) bool { return sessionMatches(&q, r) }
	states, over := codes(sessionStates[:], q.States), endedOrNot(q.States)
	switch {
	case !q.LeaseBefore.IsZero():
		s.ordered(inLeases, sessionsByLease, sortable(q.LeaseBefore))
	case !q.EndedBefore.IsZero():
		s.ordered(inEndings, sessionsByEnding, sortable(q.EndedBefore))
	case q.Queued:
		s.value(entry{index: sessionsByQueue}, []index{0})
	case q.TaskID != "":
		s.value(equal(sessionsByTask, q.TaskID), over)
	case q.Container != "":
		s.value(equal(sessionsByContainer, q.Container), over)
	case q.Instance != "":
		s.value(equal(sessionsByInstance, q.Instance), over)
	case q.UserID != "":
		s.value(equal(sessionsByUser, q.UserID), over)
	case q.Repository.Path != "":
		s.value(equal(sessionsByRepository, q.Repository.Path), over)
	default:
		s.value(entry{index: sessionsByState}, states)
	}
	return s.run(v)
}

// Usage implements [store.View].
func (v *view) Usage(q store.UsageQuery) ([]*store.Usage, error) {
	after, before := q.Bounds()
	s := search[*store.Usage]{kind: store.KindUsage, page: q.Page, place: -1}
	s.page.After = after
	end := ^uint64(0)
	if before != "" {
		end = headOf(before) + 1
		s.matches = func(r *store.Usage) bool { return r.ID < before }
	} else {
		s.matches = func(*store.Usage) bool { return true }
	}
	s.spans = []span{{entry{index: usageByDay, num: headOf(after), head: headOf(after)}, end}}
	return s.run(v)
}

func sessionMatches(q *store.SessionQuery, r *store.Session) bool {
	switch {
	case !oneOf(q.States, r.State),
		q.TaskID != "" && r.TaskID != q.TaskID,
		q.UserID != "" && r.UserID != q.UserID,
		!q.Repository.IsZero() && r.SharingKey.Repository != q.Repository,
		q.Container != "" && r.Container != q.Container,
		q.Instance != "" && r.Instance != q.Instance,
		q.Owner != "" && r.Owner != q.Owner,
		q.Queued && !r.Queued:
		return false
	}
	if t := q.LeaseBefore; !t.IsZero() &&
		(r.State != store.SessionActive || r.LeaseUntil.IsZero() || sortable(r.LeaseUntil) >= sortable(t)) {
		return false
	}
	if t := q.EndedBefore; !t.IsZero() &&
		(r.State != store.SessionEnded || r.EndedAt.IsZero() || sortable(r.EndedAt) >= sortable(t)) {
		return false
	}
	for k, v := range q.Labels {
		if have, ok := r.Labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}
