package orchestrator

import (
	"context"
	"time"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

const (
	resumeInterval = time.Second // how often resumeOwned looks
	// resumeAfter is for how long resumeOwned must have seen a state before it takes it for unattended. The record's Since
	// does not tell: another replica may have written it, by its own clock.
	resumeAfter = 5 * time.Second
)

// Run resumes what this process owns and no goroutine of it attends to, at once and then every second, until ctx ends.
// It acts only while Config.Acting lets it, and logs failures.
func (m *Manager) Run(ctx context.Context) {
	var seen firstSeen[string]
	loop.Every(ctx, resumeInterval, func() {
		ctx, cancel, err := m.acting(ctx)
		if err != nil {
			return
		}
		defer cancel()
		if seen, err = m.resumeOwned(ctx, seen); err != nil && ctx.Err() == nil {
			m.failures.Report("cannot look after this process's containers", err)
		}
	})
}

// resumeOwned gives up starts of this process that were cut off, and removes containers of this process that are marked
// as stopping. It also forgets instances that are gone. seen is what the call before returned.
func (m *Manager) resumeOwned(ctx context.Context, seen firstSeen[string]) (firstSeen[string], error) {
	q := store.ContainerQuery{
		Owner: m.cfg.Replica, States: []store.ContainerState{store.ContainerStarting, store.ContainerStopping},
	}
	state := func(c *store.Container) string { return c.ID + " " + string(c.State) }
	var owned []*store.Container
	var states []string
	for c, err := range store.Containers(ctx, m.cfg.Store, q) {
		if err != nil {
			return seen, err
		}
		owned, states = append(owned, c), append(states, state(c))
	}
	now := time.Now()
	seen = seen.next(states, now)
	for _, c := range owned {
		if seen.age(state(c), now) >= resumeAfter {
			m.Resume(c)
		}
	}
	return seen, m.forgetGone(ctx)
}

// Resume begins to remove a container of this process that is marked as stopping, or gives up its start if no goroutine makes it.
// It returns at once.
func (m *Manager) Resume(c *store.Container) {
	m.mu.Lock()
	k := m.keepers[c.ID]
	if k == nil {
		k = m.newKeeper(c.ID, Credential{})
		k.cut = true
		m.run(k)
	}
	m.mu.Unlock()
	if c.State == store.ContainerStopping {
		k.stop()
	}
}

// Forget closes the connection to an instance that is gone.
func (m *Manager) Forget(instance string) {
	m.hosts.forget(instance)
	m.observed.forget(instance)
	m.isolations.forget(instance)
}

// forgetGone forgets the instances that the store does not have any more. Another replica may have ended them.
func (m *Manager) forgetGone(ctx context.Context) error {
	ids := m.hosts.connected()
	return m.cfg.Store.View(ctx, func(v store.View) error {
		for _, id := range ids {
			in, err := store.Find[*store.Instance](v, store.InstanceKey(id))
			if err != nil {
				return err
			}
			if in == nil {
				m.Forget(id)
			}
		}
		return nil
	})
}

// firstSeen holds when this process first saw things in some state. The zero value holds nothing.
type firstSeen[K comparable] map[K]time.Time

// next returns the firstSeen after a look that found exactly these things in the state.
func (f firstSeen[K]) next(found []K, now time.Time) firstSeen[K] {
	next := make(firstSeen[K], len(found))
	for _, k := range found {
		since, seen := f[k]
		if !seen {
			since = now
		}
		next[k] = since
	}
	return next
}

// age returns for how long a thing has been in the state at every look.
func (f firstSeen[K]) age(k K, now time.Time) time.Duration { return now.Sub(f[k]) }
