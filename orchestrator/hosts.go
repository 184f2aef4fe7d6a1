package orchestrator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// hosts owns the connections to the engines of instances, one for each instance, for all parts of a Manager.
type hosts struct {
	cfg   Config
	ctx   context.Context // of a connection that is being made
	tasks *tasks

	mu         sync.Mutex // protects byInstance; never held across a call
	byInstance map[string]*host
}

// host is the connection to the engine of an instance. The first caller that needs it makes it, and the others wait.
type host struct {
	address string
	done    chan struct{} // closed when Host or err is set
	Host
	err error
}

func (h *host) close() {
	<-h.done
	if h.Host != nil {
		h.Host.Close()
	}
}

// to returns the connection to an instance, and makes it if there is none to the instance's address.
func (c *hosts) to(ctx context.Context, in *store.Instance) (Host, error) {
	c.mu.Lock()
	h := c.byInstance[in.ID]
	if old := h; old == nil || old.address != in.Address {
		h = &host{address: in.Address, done: make(chan struct{})}
		started := c.tasks.spawn(func() {
			if old != nil {
				old.close()
			}
			c.connect(h, in.ID, in.Trust)
		})
		if !started {
			c.mu.Unlock()
			return nil, agent.ErrClosed
		}
		c.byInstance[in.ID] = h
	}
	c.mu.Unlock()
	select {
	case <-h.done:
		return h.Host, h.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// connect makes a connection for all callers that wait for it. The context of none of them bounds it.
func (c *hosts) connect(h *host, instance, trust string) {
	defer close(h.done)
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.CallTimeout)
	defer cancel()
	h.Host, h.err = c.cfg.Engine.Connect(ctx, Endpoint{
		Pool: c.cfg.Pool, PoolUID: c.cfg.PoolUID, Launch: instance, Address: h.address, Trust: trust,
	})
	if h.err == nil {
		return
	}
	h.err = fmt.Errorf("instance %s: %w", instance, h.err)
	c.mu.Lock()
	if c.byInstance[instance] == h { // the next call tries again
		delete(c.byInstance, instance)
	}
	c.mu.Unlock()
}

// of does what to does, for the instance with that ID. errInstanceGone: the instance will never answer again.
func (c *hosts) of(ctx context.Context, instance string) (Host, error) {
	in, err := c.instance(ctx, instance)
	if err != nil {
		return nil, err
	}
	return c.to(ctx, in)
}

// instance returns the instance with that ID. errInstanceGone: it will never answer again.
func (c *hosts) instance(ctx context.Context, id string) (*store.Instance, error) {
	in, err := store.Read[*store.Instance](ctx, c.cfg.Store, store.InstanceKey(id))
	if err != nil {
		return nil, err
	}
	if !serves(in) {
		return nil, fmt.Errorf("instance %s: %w", id, errInstanceGone)
	}
	return in, nil
}

// Probe returns nil if the engine of an instance takes work.
func (c *hosts) Probe(ctx context.Context, in *store.Instance) error {
	h, err := c.to(ctx, in)
	if err != nil {
		return err
	}
	return h.Probe(ctx)
}

// Prefetch brings an image to the engine of an instance before the first container needs it. "" is the default image. An
// engine that does not get images from elsewhere needs none, and Prefetch then does nothing.
func (c *hosts) Prefetch(ctx context.Context, in *store.Instance, image string, progress func(message string)) error {
	h, err := c.to(ctx, in)
	if err != nil {
		return err
	}
	p, ok := h.(Prefetcher)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StartTimeout)
	defer cancel()
	return p.Prefetch(ctx, image, progress)
}

// Purge removes everything of the pool from the engine of an instance.
func (c *hosts) Purge(ctx context.Context, in *store.Instance) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.StartTimeout)
	defer cancel()
	h, err := c.to(ctx, in)
	if err != nil {
		return err
	}
	return h.Purge(ctx)
}

// connected returns the IDs of the instances to which there is a connection.
func (c *hosts) connected() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.byInstance))
}

// forget closes the connection to an instance.
func (c *hosts) forget(instance string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.byInstance[instance]; h != nil && c.tasks.spawn(h.close) { // else close closes it
		delete(c.byInstance, instance)
	}
}

// close closes the connections. No connection is being made any more.
func (c *hosts) close() {
	c.mu.Lock()
	all := c.byInstance
	c.byInstance = nil
	c.mu.Unlock()
	for _, h := range all {
		h.close()
	}
}
