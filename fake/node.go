package fake

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/naming"
)

// node is one machine's container engine with everything on it.
type node struct {
	engine *Engine
	key    string // the launch ID; without a Cloud the address

	launch string // of the last Endpoint; protected by the Engine's mu

	troubled atomic.Bool // gone, moved, or healed is not nil: keeps the usual path cheap

	cuts atomic.Int64 // how many times the connections to it broke

	mu         sync.Mutex    // protects the fields below; never held while waiting
	gone       bool          // the machine has stopped running
	moved      string        // its new address; "" = it has not moved
	healed     chan struct{} // closed when the host can be reached again; nil while it can
	away       bool          // it cannot be reached
	wrong      bool          // another answers in its place; if neither away nor wrong is set, it hangs
	full       bool
	noRooms    string // why its containers get no rooms; "" = they do
	containers map[string]*container
	mirrors    map[string]*mirror
	resources  map[string]*resource
	turns      map[string]chan struct{} // by container name
	pulled     map[string]bool          // images, if Latency.Pull says that they take time
	uids       map[int]*session
	most       int       // the most sessions at once
	made       int       // containers so far
	brought    int       // resources so far
	waiting    []*inside // to be informed that their container is gone when the host can be reached again
}

// mirror is a bare mirror on a node.
type mirror struct {
	name    string
	key     naming.Key
	pool    string
	created time.Time
	turn    chan struct{} // a lock: a fetch sends to it, and receives from it at its end
	whole   bool
	fetched time.Time // when the last fetch that succeeded had ended
	size    int64
	refs    *refs           // as of the last fetch; shared with the remote
	commits map[string]bool // every commit that was ever fetched
	private bool            // a credential was needed to fetch something
	caches  map[string]fill // by name

	preparing chan struct{} // a lock, as turn, of the making of prepared layers
	prepared  []*prepared   // layers, in the order of their making
	failed    map[string]failedPrepare
	url       string            // of the repository, as a preparation had it
	keys      map[string]string // what Prepared.Key stands for

	kept []keptWork // the newest last
}

func newNode(e *Engine, key string) *node {
	return &node{
		engine:     e,
		key:        key,
		noRooms:    e.opts.NoRooms,
		containers: make(map[string]*container),
		mirrors:    make(map[string]*mirror),
		resources:  make(map[string]*resource),
		turns:      make(map[string]chan struct{}),
		uids:       make(map[int]*session),
	}
}

// turn returns the lock of a container's name. A caller that has sent to it may start that container.
func (n *node) turn(name string) chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.turns[name]
	if t == nil {
		t = make(chan struct{}, 1)
		n.turns[name] = t
	}
	return t
}

// take acquires a lock by sending to it.
func (r reply) take(ctx context.Context, lock chan<- struct{}) error {
	select {
	case lock <- struct{}{}:
		return nil
	default:
	}
	defer r.woken()
	select {
	case lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.cut:
		return errCut
	}
}

// killAll kills every container.
func (n *node) killAll() {
	n.mu.Lock()
	var after []func()
	for _, c := range sorted(n.containers) {
		after = append(after, n.stop(c))
	}
	n.mu.Unlock()
	for _, f := range after {
		f()
	}
}

// vanish is the end of the machine.
func (n *node) vanish() {
	n.mu.Lock()
	n.gone = true
	n.troubled.Store(true)
	n.mu.Unlock()
	n.killAll()
}

// freeBytes returns how much of the disk the mirrors leave free. The caller holds mu.
func (n *node) freeBytes() int64 {
	free := n.engine.opts.Disk
	for _, m := range n.mirrors {
		free -= m.size
	}
	if n.full {
		return 0
	}
	return max(free, 0)
}

// sorted returns the values of a map in the order of its keys.
func sorted[K cmp.Ordered, V any](m map[K]V) []V {
	values := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		values = append(values, m[k])
	}
	return values
}

// nameOf returns the name of the container with an ID. If there is none, it takes its argument for a name and returns
// it.
func (n *node) nameOf(container string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, c := range n.containers {
		if c.id == container {
			return name
		}
	}
	return container
}
