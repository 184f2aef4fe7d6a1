package fake

import (
	"context"
	"fmt"

	"github.com/berth-go/berth/orchestrator"
)

// resource is what a node holds of a pool beside containers and mirrors. The fake makes those of which a process can
// leave one behind.
type resource struct {
	kind, id      string
	pool, poolUID string
	container     *container // that uses it; nil = none
	busy          bool       // a start is at work with it
}

// Kinds of resources.
const (
	ResourceHelper = "helper" // a container that a start makes and removes
	ResourceWork   = "work"   // the volume of a container's checkouts
)

var types = map[string]string{ResourceHelper: "container", ResourceWork: "volume"}

// newResource puts a resource on the host. The caller holds mu.
func (n *node) newResource(kind, pool, poolUID string) *resource {
	n.brought++
	r := &resource{kind: kind, id: fmt.Sprintf("%s-%s-%d", n.key, kind, n.brought), pool: pool, poolUID: poolUID}
	n.resources[r.id] = r
	return r
}

// seen is the resource as its engine shows it. The engine does not know of starts that are about to use it.
func (r *resource) seen() orchestrator.Resource {
	return orchestrator.Resource{Kind: r.kind, Type: types[r.kind], ID: r.id, PoolUID: r.poolUID, InUse: r.container != nil}
}

// RemoveResource implements orchestrator.Host.
func (h *host) RemoveResource(ctx context.Context, r orchestrator.Resource) error {
	return h.do(ctx, RemoveResource, r.ID, h.node.engine.opts.Latency.Call, func(reply) error {
		n := h.node
		n.mu.Lock()
		defer n.mu.Unlock()
		have := n.resources[r.ID]
		switch {
		case have == nil || have.pool != h.endpoint.Pool:
			return nil
		case have.seen().InUse:
			return orchestrator.ErrInUse
		}
		n.dropResource(have)
		return nil
	})
}

// dropResource removes a resource. The caller holds mu.
func (n *node) dropResource(r *resource) {
	delete(n.resources, r.id)
	if r.busy {
		n.engine.mu.Lock()
		n.engine.snatched++
		n.engine.mu.Unlock()
	}
}

// Resource is a resource as it really is.
type Resource struct {
	Host          string // as in Container
	Kind, ID      string
	Pool, PoolUID string
	Busy          bool // a start is at work with it
	InUse         bool // a container uses it
}

// Resources returns every resource of every host, by host and ID.
func (e *Engine) Resources() []Resource {
	return onNodes(e, func(n *node) (all []Resource) {
		for _, r := range sorted(n.resources) {
			all = append(all, Resource{
				Host: n.key, Kind: r.kind, ID: r.id, Pool: r.pool, PoolUID: r.poolUID, Busy: r.busy, InUse: r.seen().InUse,
			})
		}
		return all
	})
}

// Snatched returns how many resources were removed while a start was at work with them.
func (e *Engine) Snatched() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.snatched
}

// PlantResource puts on a host what a process of a pool left there that died between making and removing it, and
// returns its ID. kind is ResourceHelper or ResourceWork.
func (e *Engine) PlantResource(host, pool, poolUID, kind string) (id string) {
	n := e.find(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.newResource(kind, pool, poolUID).id
}
