package dashboard

import (
	"context"
	"reflect"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/store"
)

// refresh reads what has changed. It returns the error of this reading; what was known before stays.
func (m *model) refresh(ctx context.Context) error {
	m.mu.RLock()
	fresh := m.state == nil
	m.mu.RUnlock()
	if !m.refreshing.TryLock() {
		if !fresh { // another caller does it, and there is something to show meanwhile
			return nil
		}
		m.refreshing.Lock()
	}
	defer m.refreshing.Unlock()
	fresh = m.state == nil                             // which changes with refreshing held alone
	if !fresh && !m.source.due() && m.age() < tooOld { // another caller has just done it
		return nil
	}
	m.source.watch(m.forget, m.event)
	dirty, all := m.source.take(fresh)
	begun := time.Now()
	batch, err := m.readBatch(ctx, dirty, all)
	if err != nil {
		m.source.giveBack(dirty, all)
		if ctx.Err() == nil {
			m.source.readAgain(time.Since(begun), all)
			m.mu.Lock()
			if (m.err == nil) != (err == nil) {
				m.version++ // pages say so
			}
			m.err = err
			m.mu.Unlock()
		}
		return err
	}
	m.apply(batch, begun)
	m.source.readAgain(time.Since(begun), all)
	return nil
}

func (m *model) age() time.Duration {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return time.Since(m.read)
}

// forget drops what is known, because it was not asked for in a while.
func (m *model) forget() {
	m.refreshing.Lock()
	defer m.refreshing.Unlock()
	m.source.unwatch()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = nil
	m.events.clear()
	m.header.Store(nil)
	m.forgotten()
}

// batch is what one reading has found.
type batch struct {
	all     bool // it has every record, so that others are gone
	records []store.Record
	gone    []store.Key
	waiting []berth.Waiting
}

// keysPerView bounds the reads of one View: a store bounds the time that a View may take.
const keysPerView = 2000

func (m *model) readBatch(ctx context.Context, dirty map[store.Key]struct{}, all bool) (b batch, err error) {
	if b.all = all; all {
		dirty = map[store.Key]struct{}{store.PoolKey(): {}, store.LeaseKey(leasePlanner): {}}
		for _, read := range []func(context.Context, *batch) error{m.readInstances, m.readContainers, m.readSessions} {
			if err := read(ctx, &b); err != nil {
				return b, err
			}
		}
	}
	keys := make([]store.Key, 0, len(dirty))
	for key := range dirty {
		keys = append(keys, key)
	}
	for len(keys) > 0 && err == nil {
		part := keys[:min(len(keys), keysPerView)]
		keys = keys[len(part):]
		err = m.console.View(ctx, func(v store.View) error {
			for _, key := range part {
				r, err := store.Find[store.Record](v, key)
				switch {
				case err != nil:
					return err
				case r == nil:
					b.gone = append(b.gone, key)
				default:
					b.records = append(b.records, r)
				}
			}
			return nil
		})
	}
	if err == nil {
		b.waiting, err = m.console.Waiting(ctx)
	}
	return b, err
}

// readAll reads the records that a query selects.
func readAll[R store.Record](ctx context.Context, m *model, b *batch, query func(store.View, store.Page) ([]R, error)) error {
	for r, err := range store.All(func(page store.Page) (found []R, err error) {
		err = m.console.View(ctx, func(v store.View) error {
			found, err = query(v, page)
			return err
		})
		return found, err
	}) {
		if err != nil {
			return err
		}
		b.records = append(b.records, r)
	}
	return nil
}

func (m *model) readInstances(ctx context.Context, b *batch) error {
	return readAll(ctx, m, b, func(v store.View, p store.Page) ([]*store.Instance, error) {
		return v.Instances(store.InstanceQuery{Page: p})
	})
}

func (m *model) readContainers(ctx context.Context, b *batch) error {
	return readAll(ctx, m, b, func(v store.View, p store.Page) ([]*store.Container, error) {
		return v.Containers(store.ContainerQuery{Page: p})
	})
}

func (m *model) readSessions(ctx context.Context, b *batch) error {
	return readAll(ctx, m, b, func(v store.View, p store.Page) ([]*store.Session, error) {
		return v.Sessions(store.SessionQuery{Page: p})
	})
}

// recordsPerLock bounds the records that are taken over while no viewer can look.
const recordsPerLock = 1000

// apply makes the model what a batch says. read is when its reading began. The caller holds refreshing.
func (m *model) apply(b batch, read time.Time) {
	s, changed := m.state, m.err != nil
	if s == nil { // no viewer sees it until it is complete
		s, changed = newState(), true
	}
	seen := make(map[store.Key]bool)
	for rest := b.records; len(rest) > 0; {
		part := rest[:min(len(rest), recordsPerLock)]
		rest = rest[len(part):]
		m.mu.Lock()
		for _, r := range part {
			if b.all {
				seen[r.Key()] = true
			}
			changed = m.put(s, r) || changed
		}
		if m.state != nil {
			s.settle()
			m.events.settle()
		}
		m.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s
	if b.all {
		b.gone = append(b.gone, s.unseen(seen)...)
	}
	for _, key := range b.gone {
		changed = m.remove(s, key) || changed
	}
	s.settle()
	if !reflect.DeepEqual(s.waiting, b.waiting) {
		s.waiting, changed = b.waiting, true
	}
	for _, e := range m.source.takeHeard() {
		m.events.add(e)
		changed = true
	}
	m.read, m.err = read, nil
	m.events.settle()
	if changed {
		m.version++
	}
}

// unseen returns the keys of the records that are known and were not seen.
func (s *state) unseen(seen map[store.Key]bool) (gone []store.Key) {
	note := func(key store.Key) {
		if !seen[key] {
			gone = append(gone, key)
		}
	}
	for id := range s.tasks {
		note(store.SessionKey(id))
	}
	for id := range s.containers {
		note(store.ContainerKey(id))
	}
	for id := range s.instances {
		note(store.InstanceKey(id))
	}
	return gone
}

// put takes a record over. It reports whether a page may show the difference. The renewal of a lease alone does not count: leases are
// renewed all the time, and the next change shows it.
func (m *model) put(s *state, r store.Record) (changed bool) {
	switch r := r.(type) {
	case *store.Session:
		old := s.tasks[r.ID]
		if old != nil && sameButLease(old.Session, r) {
			old.Session = r
			return false
		}
		m.events.session(old, r)
		s.setTask(r.ID, r)
	case *store.Container:
		m.events.container(s.containers[r.ID], r)
		s.setContainer(r.ID, r)
	case *store.Instance:
		m.events.instance(s.instances[r.ID], r)
		s.instances[r.ID] = r
	case *store.Pool:
		m.events.pool(s.pool, r)
		s.pool = r
	case *store.Lease:
		changed = s.planner == nil || s.planner.Holder != r.Holder
		s.planner, s.beat = r, time.Now()
		return changed
	}
	return true
}

func sameButLease(a, b *store.Session) bool {
	if a.State != b.State || a.Queued != b.Queued {
		return false
	}
	c := *b
	c.Beat, c.LeaseUntil, c.Untold = a.Beat, a.LeaseUntil, a.Untold
	return reflect.DeepEqual(a, &c)
}

// remove forgets a record. It reports whether it was known.
func (m *model) remove(s *state, key store.Key) bool {
	switch key.Kind {
	case store.KindSession:
		if s.tasks[key.ID] == nil {
			return false
		}
		s.setTask(key.ID, nil)
	case store.KindContainer:
		old := s.containers[key.ID]
		if old == nil {
			return false
		}
		m.events.containerGone(old)
		s.setContainer(key.ID, nil)
	case store.KindInstance:
		old := s.instances[key.ID]
		if old == nil {
			return false
		}
		m.events.instanceGone(old)
		delete(s.instances, key.ID)
	case store.KindLease:
		s.planner = nil
	default:
		return false
	}
	return true
}
