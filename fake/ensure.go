package fake

import (
	"context"
	"fmt"

	"github.com/berth-go/berth/orchestrator"
)

func (h *host) Ensure(ctx context.Context, spec orchestrator.ContainerSpec, progress func(string)) (orchestrator.Container, error) {
	var made orchestrator.Container
	err := h.do(ctx, Ensure, spec.Name, h.node.engine.opts.Latency.Call, func(r reply) (err error) {
		made, err = h.ensure(ctx, r, spec, progress)
		return err
	})
	if err != nil {
		return orchestrator.Container{}, err
	}
	return made, nil
}

func (h *host) ensure(ctx context.Context, r reply, spec orchestrator.ContainerSpec, progress func(string)) (orchestrator.Container, error) {
	n, e := h.node, h.node.engine
	turn := n.turn(spec.Name)
	if err := r.take(ctx, turn); err != nil {
		return orchestrator.Container{}, err
	}
	defer func() { <-turn }()

	n.mu.Lock()
	adopted, after, err := h.clear(spec)
	var c *container
	if err == nil && adopted == nil && e.images != nil && !e.images[spec.Image] {
		err = fmt.Errorf("%w: %s: pull access denied, and it is not on the engine", orchestrator.ErrImage, spec.Image)
	}
	if err == nil && adopted == nil {
		c = n.newContainer(spec, h.endpoint.Pool, h.endpoint.PoolUID)
	}
	n.mu.Unlock()
	after()
	if err != nil {
		return orchestrator.Container{}, err
	}
	if adopted != nil {
		return *adopted, nil
	}

	err = sleep(ctx, e.opts.Latency.Start, c.dead)
	if err == errCut {
		err = fmt.Errorf("the container was removed while it started")
	}
	n.mu.Lock()
	if err == nil && !n.has(c) {
		err = fmt.Errorf("the container was removed while it started")
	}
	if err != nil {
		after = n.forget(c)
		if c.firstOfMirror && !c.mirror.whole {
			delete(n.mirrors, spec.Name)
		}
		n.mu.Unlock()
		after()
		return orchestrator.Container{}, err
	}
	n.run(c)
	seen := c.seen()
	n.mu.Unlock()
	return seen, nil
}

// clear looks at what has the name of a container that is to run: one to adopt, or one in the way, which is removed
// where it may be. The caller holds the node's mu, and afterwards, without it, calls after.
func (h *host) clear(spec orchestrator.ContainerSpec) (adopted *orchestrator.Container, after func(), err error) {
	n, after := h.node, func() {}
	there := n.containers[spec.Name]
	switch {
	case there == nil:
		return nil, after, nil
	case there.pool != h.endpoint.Pool || there.spec.Key != spec.Key:
		return nil, after, fmt.Errorf("%w: %s", orchestrator.ErrNameTaken, spec.Name)
	case h.inUse(there):
		return nil, after, fmt.Errorf("%w: %s", orchestrator.ErrInUse, spec.Name)
	case there.running && there.poolUID == h.endpoint.PoolUID:
		seen := there.seen()
		seen.Adopted = true
		return &seen, after, nil
	}
	return nil, n.forget(there), nil
}

// inUse reports whether a container is that of another pool with the same name, and somebody is attached to it. The
// caller holds the node's mu.
func (h *host) inUse(c *container) bool {
	return c.poolUID != h.endpoint.PoolUID && c.running && len(c.insides) > 0
}

// has reports whether a container is on the host and not dead. The caller holds mu.
func (n *node) has(c *container) bool {
	select {
	case <-c.dead:
		return false
	default:
		return n.containers[c.spec.Name] == c
	}
}
