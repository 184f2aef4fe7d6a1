package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// sweepInterval is how often Lead compares the engines with the store, unless OrphanGrace is shorter.
const sweepInterval = time.Minute

// Lead sweeps every instance whose engine should answer, at once and then at an interval, until ctx ends. It logs
// failures. It runs under the planner's lease, so that one process of the pool does it.
func (m *Manager) Lead(ctx context.Context) {
	serving := store.InstanceQuery{States: []store.InstanceState{store.InstanceReady, store.InstanceCordoned}}
	loop.Every(ctx, max(min(sweepInterval, m.cfg.OrphanGrace), time.Second), func() {
		for in, err := range store.Instances(ctx, m.cfg.Store, serving) {
			if err != nil {
				if ctx.Err() == nil {
					m.failures.Report("cannot find the instances whose engines are to be compared with the store", err)
				}
				return
			}
			if err := m.Sweep(ctx, in); err != nil && ctx.Err() == nil {
				m.failures.Report("cannot compare an engine with the store", err, "instance", in.ID)
			}
		}
	})
}

// Sweep compares what the engine of an instance holds with the store:
//
//   - A container of this pool that the store has not had for OrphanGrace is removed. One of another store that uses the
//     same pool name is left alone: Ensure decides about it when its name is needed.
//   - A mirror that the store does not have is added to it.
//   - Any other resource that has not been in use for OrphanGrace is removed.
//   - A container that is ready by the store and does not run is lost. The others are visited now and then; see visit.
func (m *Manager) Sweep(ctx context.Context, in *store.Instance) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.CallTimeout)
	defer cancel()
	h, err := m.hosts.to(ctx, in)
	if err != nil {
		return err
	}
	have, err := h.List(ctx)
	if err != nil {
		return err
	}
	known, err := m.stored(ctx, in.ID) // after the engine, so that the containers that were made meanwhile are known
	if err != nil {
		return err
	}
	m.observed.countStates(in.ID, known)
	m.noteIsolation(in.ID, isolationOf(in))
	m.visitAll(h, in.ID, known, have.Containers)
	if n, appeared := m.observed.countForeign(in.ID, have.Containers); appeared {
		m.cfg.Logger.Warn("containers carry this pool's name and the identity of another store: each is left alone until its "+
			"name is needed. If that store is lost, remove them by hand", "instance", in.ID, "containers", n)
	}
	for _, c := range m.observed.orphans(in.ID, have.Containers, known, time.Now()) {
		m.cfg.Logger.Warn("removing a container that the store does not have", "container", c.Name, "instance", in.ID)
		if err := m.adoptOrphan(ctx, in.ID, c); err != nil {
			return err
		}
	}
	return errors.Join(m.sweepResources(ctx, h, in.ID, have.Resources), m.mirrors.adopt(ctx, in.ID, have.Mirrors))
}

// sweepResources removes resources that a process left behind. They may belong to another store with the same pool name,
// but that store does not need a resource either that nothing uses.
func (m *Manager) sweepResources(ctx context.Context, h Host, instance string, have []Resource) error {
	var failed []error
	for _, r := range m.observed.unused(instance, have, time.Now()) {
		switch err := h.RemoveResource(ctx, r); {
		case errors.Is(err, ErrInUse): // since the engine was asked
		case err != nil:
			failed = append(failed, err)
		default:
			m.swept.Add(1)
			m.cfg.Logger.Warn("removed a resource that a process had left behind", "kind", r.Kind, "id", r.ID, "instance", instance)
		}
	}
	return errors.Join(failed...)
}

// stored returns the containers that the store has on an instance, by name.
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

// adoptOrphan stores that a container is to be removed, unless the store has it by now. So the container is removed like
// every other, and its name is not used meanwhile.
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
		there, err := heldOn(tx, sharing, instance)
		if err != nil || there {
			return err
		}
		adopted = true
		sharing.Containers = append(sharing.Containers, c.ID)
		if err := tx.Put(sharing); err != nil {
			return err
		}
		return tx.Put(c)
	})
	if err == nil && adopted {
		m.keeper(ctx, c.ID, Credential{})
	}
	return err
}

// heldOn reports whether the store has a container of a sharing key on an instance.
func heldOn(tx store.Tx, sharing *store.Sharing, instance string) (bool, error) {
	for _, id := range sharing.Containers {
		c, err := store.Find[*store.Container](tx, store.ContainerKey(id))
		if err != nil || c != nil && c.Instance == instance {
			return err == nil, err
		}
	}
	return false, nil
}
