package orchestrator

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// host is the connection to the engine of an instance. It is made by the first who needs it; the others wait.
type host struct {
	address string
	done    chan struct{} // closed when the connection is made or has failed
	Host
	err error
}

func (h *host) close() {
	<-h.done
	if h.Host != nil {
		h.Host.Close()
	}
}

// host returns the connection to an instance.
func (m *Manager) host(ctx context.Context, in *store.Instance) (Host, error) {
	m.mu.Lock()
	h := m.hosts[in.ID]
	if old := h; old == nil || old.address != in.Address {
		h = &host{address: in.Address, done: make(chan struct{})}
		started := m.spawn(func() {
			if old != nil {
				old.close()
			}
			m.connect(h, in.ID, in.Trust)
		})
		if !started {
			m.mu.Unlock()
			return nil, agent.ErrClosed
		}
		m.hosts[in.ID] = h
	}
	m.mu.Unlock()
	select {
	case <-h.done:
		return h.Host, h.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// connect makes a connection, for all who wait for it: the context of none of them bounds it.
func (m *Manager) connect(h *host, instance, trust string) {
	defer close(h.done)
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.CallTimeout)
	defer cancel()
	h.Host, h.err = m.cfg.Engine.Connect(ctx, Endpoint{
		Pool: m.cfg.Pool, PoolUID: m.cfg.PoolUID, Launch: instance, Address: h.address, Trust: trust,
	})
	if h.err == nil {
		return
	}
	h.err = fmt.Errorf("instance %s: %w", instance, h.err)
	m.mu.Lock()
	if m.hosts[instance] == h { // the next call tries again
		delete(m.hosts, instance)
	}
	m.mu.Unlock()
}

// hostOf is host for the instance of that ID. It is errInstanceGone when the instance will never answer again.
func (m *Manager) hostOf(ctx context.Context, instance string) (Host, error) {
	in, err := m.instanceOf(ctx, instance)
	if err != nil {
		return nil, err
	}
	return m.host(ctx, in)
}

// instanceOf returns the instance of that ID, if it can answer.
func (m *Manager) instanceOf(ctx context.Context, instance string) (*store.Instance, error) {
	var in *store.Instance
	err := m.cfg.Store.View(ctx, func(v store.View) (err error) {
		in, err = store.Find[*store.Instance](v, store.InstanceKey(instance))
		return err
	})
	if err != nil {
		return nil, err
	}
	if !serves(in) {
		return nil, fmt.Errorf("instance %s: %w", instance, errInstanceGone)
	}
	return in, nil
}

// Probe returns nil when the engine of an instance takes work.
func (m *Manager) Probe(ctx context.Context, in *store.Instance) error {
	h, err := m.host(ctx, in)
	if err != nil {
		return err
	}
	return h.Probe(ctx)
}

// Prefetch brings an image to the engine of an instance before the first container needs it; "" is the default image.
// It does nothing where images do not come from elsewhere.
func (m *Manager) Prefetch(ctx context.Context, in *store.Instance, image string, progress func(message string)) error {
	h, err := m.host(ctx, in)
	if err != nil {
		return err
	}
	p, ok := h.(Prefetcher)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.StartTimeout)
	defer cancel()
	return p.Prefetch(ctx, image, progress)
}

// Forget closes the connection to an instance that is gone.
func (m *Manager) Forget(instance string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.hosts[instance]
	delete(m.hosts, instance)
	delete(m.unknown, instance)
	delete(m.visited, instance)
	delete(m.foreign, instance)
	if h != nil {
		m.spawn(h.close)
	}
}

// forgetGone forgets the instances that the store does not know any more: another replica may have ended them.
func (m *Manager) forgetGone(ctx context.Context) error {
	m.mu.Lock()
	ids := slices.Collect(maps.Keys(m.hosts))
	m.mu.Unlock()
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
