package orchestrator

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/berth-go/berth/store"
)

// Sweep compares what the engine of an instance holds with what is stored. A container of this pool that the store has
// not known for a while is removed, and a mirror that the store does not know is adopted. Containers of another store that
// uses the same pool name are left alone: whoever needs their name decides, in Ensure. A container that is ready and does
// not run is lost. The others are visited now and then; see visit.
func (m *Manager) Sweep(ctx context.Context, in *store.Instance) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.CallTimeout)
	defer cancel()
	h, err := m.host(ctx, in)
	if err != nil {
		return err
	}
	have, err := h.List(ctx)
	if err != nil {
		return err
	}
	known, err := m.stored(ctx, in.ID) // after the engine: what was made meanwhile is known
	if err != nil {
		return err
	}
	m.visitAll(h, in.ID, known, have.Containers)
	m.noteForeign(in.ID, have.Containers)
	for _, c := range m.orphans(in.ID, have.Containers, known, time.Now()) {
		m.cfg.Logger.Warn("removing a container that nobody knows", "container", c.Name, "instance", in.ID)
		if err := m.adoptOrphan(ctx, in.ID, c); err != nil {
			return err
		}
	}
	return m.adoptMirrors(ctx, in.ID, have.Mirrors)
}

// stored returns the containers that an instance has by its records, by name.
func (m *Manager) stored(ctx context.Context, instance string) (map[string]*store.Container, error) {
	known := make(map[string]*store.Container)
	for c, err := range store.Containers(ctx, m.cfg.Store, store.ContainerQuery{Instance: instance}) {
		if err != nil {
			return nil, err
		}
		known[c.Name] = c
	}
	return known, nil
}

// orphans returns the containers of this pool that have been unknown to the store for the grace time.
func (m *Manager) orphans(instance string, have []Container, known map[string]*store.Container, now time.Time) []Container {
	m.mu.Lock()
	defer m.mu.Unlock()
	unknown := make(map[string]time.Time)
	var orphans []Container
	for _, c := range have {
		if known[c.Name] != nil || c.PoolUID != m.cfg.PoolUID {
			continue
		}
		since, seen := m.unknown[instance][c.ID]
		if !seen {
			since = now
		}
		unknown[c.ID] = since
		if now.Sub(since) >= m.cfg.OrphanGrace {
			orphans = append(orphans, c)
		}
	}
	m.unknown[instance] = unknown
	return orphans
}

// noteForeign counts the containers of another store that uses the same pool name, and logs when there are any.
func (m *Manager) noteForeign(instance string, have []Container) {
	n := 0
	for _, c := range have {
		if c.PoolUID != m.cfg.PoolUID {
			n++
		}
	}
	m.mu.Lock()
	before := m.foreign[instance]
	m.foreign[instance] = n
	m.mu.Unlock()
	if n > 0 && before == 0 {
		m.cfg.Logger.Warn("containers carry this pool's name and the identity of another store: they are left alone until their "+
			"names are needed. If that store is lost, remove them by hand", "instance", instance, "containers", n)
	}
}

// adoptOrphan writes down that a container is to be removed, unless the store knows it by now. So it is removed like
// every other one, and nobody uses its name meanwhile.
func (m *Manager) adoptOrphan(ctx context.Context, instance string, found Container) error {
	now := time.Now()
	c := &store.Container{
		ID: NewContainerID(), Name: found.Name, SharingKey: found.Key, Instance: instance, EngineID: found.ID,
		State: store.ContainerStopping, Since: now, CreatedAt: now, Owner: m.cfg.Replica,
	}
	adopted := false
	keys := []store.Key{store.SharingKey(found.Name), c.Key()}
	err := m.cfg.Store.Update(ctx, keys, func(tx store.Tx) error {
		adopted = false
		sharing, err := store.Find[*store.Sharing](tx, store.SharingKey(found.Name))
		if err != nil {
			return err
		}
		if sharing == nil {
			sharing = &store.Sharing{ID: found.Name, SharingKey: found.Key}
		}
		for _, id := range sharing.Containers {
			other, err := store.Find[*store.Container](tx, store.ContainerKey(id))
			if err != nil || other != nil && other.Instance == instance {
				return err
			}
		}
		adopted = true
		sharing.Containers = append(sharing.Containers, c.ID)
		if err := tx.Put(sharing); err != nil {
			return err
		}
		return tx.Put(c)
	})
	if err == nil && adopted {
		m.keeper(c.ID, Credential{})
	}
	return err
}

// NewContainerID returns the ID of a container record to be: unique for ever.
func NewContainerID() string { return "c-" + strings.ToLower(rand.Text()[:20]) }

// Purge removes everything of the pool from the engine of an instance: containers, mirrors, networks and volumes.
func (m *Manager) Purge(ctx context.Context, in *store.Instance) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.StartTimeout)
	defer cancel()
	h, err := m.host(ctx, in)
	if err != nil {
		return err
	}
	return h.Purge(ctx)
}
