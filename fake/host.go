package fake

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// host is one caller's connection to a node.
type host struct {
	node     *node
	endpoint orchestrator.Endpoint
	actor    string
	name     string // for Call.Host
	runs     *runs  // nil = not counted
	closed   atomic.Bool
}

var _ orchestrator.Host = (*host)(nil)

func newHost(n *node, endpoint orchestrator.Endpoint, c engineClient) *host {
	return &host{node: n, endpoint: endpoint, actor: c.actor, runs: c.runs, name: cmp.Or(endpoint.Launch, endpoint.Address)}
}

// do makes a call: effect runs when it has reached the host.
func (h *host) do(ctx context.Context, v Verb, container string, latency time.Duration, effect func(reply) error) error {
	call := Call{Actor: h.actor, Verb: v, Host: h.name, Container: container}
	cuts := h.node.cuts.Load()
	r, err := h.node.engine.begin(ctx, call, latency, nil)
	if err == nil {
		err = h.node.answers(ctx, r, h.endpoint.Address)
	}
	if err == nil && h.closed.Load() {
		err = agent.ErrClosed
	}
	if err == nil {
		err = effect(r)
		if cut := h.node.answers(ctx, r, h.endpoint.Address); cut != nil {
			err = cut // the call had its effect, but the answer does not arrive
		}
		err = r.finish(ctx, err)
	}
	if err == nil && h.node.cuts.Load() != cuts {
		err = errCutOff
	}
	if err != nil {
		return fmt.Errorf("%s %s at %s: %w", v, container, h.endpoint.Address, err)
	}
	return nil
}

func (h *host) Probe(ctx context.Context) error {
	return h.do(ctx, Probe, "", h.node.engine.opts.Latency.Call, func(reply) error { return nil })
}

func (h *host) List(ctx context.Context) (orchestrator.Inventory, error) {
	var inv orchestrator.Inventory
	err := h.do(ctx, List, "", h.node.engine.opts.Latency.Call, func(reply) error {
		inv = h.inventory()
		return nil
	})
	if err != nil {
		return orchestrator.Inventory{}, err
	}
	return inv, nil
}

func (h *host) inventory() (inv orchestrator.Inventory) {
	n := h.node
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range sorted(n.containers) {
		if c.pool == h.endpoint.Pool {
			inv.Containers = append(inv.Containers, c.seen())
		}
	}
	for _, m := range sorted(n.mirrors) {
		if m.pool == h.endpoint.Pool {
			inv.Mirrors = append(inv.Mirrors, orchestrator.Mirror{Name: m.name, Key: m.key, Created: m.created})
		}
	}
	for _, r := range sorted(n.resources) {
		if r.pool == h.endpoint.Pool {
			inv.Resources = append(inv.Resources, r.seen())
		}
	}
	return inv
}

// seen returns the container as its engine shows it.
func (c *container) seen() orchestrator.Container {
	return orchestrator.Container{
		Name: c.spec.Name, ID: c.id, Key: c.spec.Key, PoolUID: c.poolUID, Running: c.running, Created: c.created,
		Isolation: c.rooms,
	}
}

func (h *host) Remove(ctx context.Context, name, id string) error {
	return h.do(ctx, Remove, name, h.node.engine.opts.Latency.Remove, func(reply) (err error) {
		h.node.mu.Lock()
		after := func() {}
		switch c := h.node.containers[name]; {
		case c == nil || c.pool != h.endpoint.Pool || id != "" && c.id != id:
		case h.inUse(c):
			err = orchestrator.ErrInUse
		default:
			after = h.node.forget(c)
		}
		h.node.mu.Unlock()
		after()
		return err
	})
}

func (h *host) RemoveMirror(ctx context.Context, name string) error {
	return h.do(ctx, RemoveMirror, name, h.node.engine.opts.Latency.Call, func(reply) error {
		h.node.mu.Lock()
		defer h.node.mu.Unlock()
		m := h.node.mirrors[name]
		if m == nil || m.pool != h.endpoint.Pool {
			return nil
		}
		if c := h.node.containers[name]; c != nil && c.pool == m.pool {
			return orchestrator.ErrInUse
		}
		delete(h.node.mirrors, name)
		return nil
	})
}

// Purge removes everything of the pool, except what another living process uses.
func (h *host) Purge(ctx context.Context) error {
	return h.do(ctx, Purge, "", h.node.engine.opts.Latency.Remove, func(reply) error {
		n := h.node
		n.mu.Lock()
		var after []func()
		kept := make(map[string]bool)
		for _, c := range sorted(n.containers) {
			switch {
			case c.pool != h.endpoint.Pool:
			case h.inUse(c):
				kept[c.spec.Name] = true
			default:
				after = append(after, n.forget(c))
			}
		}
		for name, m := range n.mirrors {
			if m.pool == h.endpoint.Pool && !kept[name] {
				delete(n.mirrors, name)
			}
		}
		for _, r := range sorted(n.resources) {
			if r.pool == h.endpoint.Pool && !r.seen().InUse && !(r.busy && r.poolUID != h.endpoint.PoolUID) {
				n.dropResource(r)
			}
		}
		n.mu.Unlock()
		for _, f := range after {
			f()
		}
		return nil
	})
}

func (h *host) Attach(ctx context.Context, container string) (orchestrator.Inside, error) {
	var i *inside
	name := h.node.nameOf(container)
	err := h.do(ctx, Attach, name, h.node.engine.opts.Latency.Call, func(reply) error {
		h.node.mu.Lock()
		defer h.node.mu.Unlock()
		c := h.node.containers[name]
		if c == nil || name != container && c.id != container || c.pool != h.endpoint.Pool {
			return agent.ErrGone
		}
		if !c.running {
			return c.gone()
		}
		i = &inside{container: c, host: h, done: make(chan struct{})}
		i.preparer, i.keeper = preparer{i}, keeper{i}
		i.asker = asker{i}
		c.insides = append(c.insides, i)
		return nil
	})
	if err != nil {
		if i != nil {
			_ = i.Close()
		}
		return nil, err
	}
	return i, nil
}

// Close detaches everything that was attached through the host.
func (h *host) Close() error {
	h.closed.Store(true)
	n := h.node
	n.mu.Lock()
	var mine []*inside
	for _, c := range sorted(n.containers) {
		mine = append(mine, c.insides...)
	}
	mine = append(mine, n.waiting...)
	n.mu.Unlock()
	for _, i := range mine {
		if i.host == h {
			_ = i.Close()
		}
	}
	return nil
}
