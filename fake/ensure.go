package fake

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
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
	if iso := n.isolation(); spec.RequireIsolation && iso.Level != store.IsolationRooms {
		n.mu.Unlock()
		return orchestrator.Container{}, &orchestrator.IsolationError{Reason: iso.Reason}
	}
	adopted, after, err := h.clear(spec)
	var c *container
	var helper *resource
	if err == nil && adopted == nil && e.images != nil && !e.images[spec.Image] {
		err = fmt.Errorf("%w: %s: pull access denied, and it is not on the engine", orchestrator.ErrImage, spec.Image)
	}
	if err == nil && adopted == nil {
		c = n.newContainer(spec, h.endpoint.Pool, h.endpoint.PoolUID)
		n.newResource(ResourceWork, h.endpoint.Pool, h.endpoint.PoolUID).container = c
		helper = n.newResource(ResourceHelper, h.endpoint.Pool, h.endpoint.PoolUID)
		helper.busy = true
	}
	n.mu.Unlock()
	after()
	if err != nil {
		return orchestrator.Container{}, err
	}
	if adopted != nil {
		return *adopted, nil
	}

	return n.start(ctx, c, helper)
}

// start pulls the image of a container that was made, and starts it. helper is a helper container, which it needs meanwhile.
func (n *node) start(ctx context.Context, c *container, helper *resource) (orchestrator.Container, error) {
	began := time.Now()
	pulled, err := n.pull(ctx, c.spec.Image, c.dead)
	if err == nil {
		err = sleep(ctx, n.engine.opts.Latency.Start, c.dead)
	}
	if err == errCut {
		err = fmt.Errorf("the container was removed while it started")
	}
	n.mu.Lock()
	helper.busy = false
	if err == nil && n.resources[helper.id] != helper {
		err = fmt.Errorf("the helper container was removed while it was used")
	}
	delete(n.resources, helper.id)
	if err == nil && !n.has(c) {
		err = fmt.Errorf("the container was removed while it started")
	}
	if err != nil {
		after := n.forget(c)
		if c.firstOfMirror && !c.mirror.whole {
			delete(n.mirrors, c.spec.Name)
		}
		n.mu.Unlock()
		after()
		return orchestrator.Container{}, err
	}
	n.run(c)
	seen := c.seen()
	n.mu.Unlock()
	if pulled > 0 {
		seen.PullBegan, seen.Pulled = began, pulled
	}
	return seen, nil
}

// pull takes the time that the first container of an image takes, and returns it.
func (n *node) pull(ctx context.Context, image string, dead <-chan struct{}) (took time.Duration, err error) {
	took = n.engine.opts.Latency.Pull
	n.mu.Lock()
	there := took == 0 || n.pulled[image]
	n.mu.Unlock()
	if there {
		return 0, nil
	}
	if err := sleep(ctx, took, dead); err != nil {
		return 0, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pulled == nil {
		n.pulled = make(map[string]bool)
	}
	n.pulled[image] = true
	return took, nil
}

// clear makes way for a container that is to run. It returns the container of that name if it can be adopted, and
// removes one that is in the way if that is allowed. The caller holds the node's mu. It then releases mu and calls
// after.
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
	case spec.RequireIsolation && there.rooms.Level != store.IsolationRooms:
	case there.running && there.poolUID == h.endpoint.PoolUID:
		seen := there.seen()
		seen.Adopted = true
		return &seen, after, nil
	}
	return nil, n.forget(there), nil
}

// inUse reports whether a container belongs to another pool with the same name and somebody is attached to it. The
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
