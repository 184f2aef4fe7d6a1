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

// node is one machine's container engine and all that is on it.
type node struct {
	engine *Engine
	key    string // the launch ID; without a Cloud the address

	launch string // of the last Endpoint; the Engine's mu protects it

	troubled atomic.Bool // gone, moved, or healed is not nil: keeps the plain path cheap

	cuts atomic.Int64 // how often the connections to it broke

	mu         sync.Mutex    // protects what follows; never held while waiting
	gone       bool          // the machine does not run any more
	moved      string        // the address that it has got; "" = it is where it always was
	healed     chan struct{} // closed when the host is as it should be again; nil while it is
	away       bool          // it cannot be reached
	wrong      bool          // another answers in its place; neither away nor wrong: it hangs
	full       bool
	containers map[string]*container
	mirrors    map[string]*mirror
	turns      map[string]chan struct{} // by container name
	uids       map[int]*session
	most       int       // sessions at once
	made       int       // containers so far
	waiting    []*inside // will learn that their container is gone when the host is reached again
}

// mirror is a bare mirror on a node.
type mirror struct {
	name     string
	key      naming.Key
	pool     string
	created  time.Time
	turn     chan struct{} // who has sent to it may fetch
	whole    bool
	fetched  time.Time // when the last fetch that succeeded had ended
	size     int64
	standard string            // the default branch
	branches map[string]string // as fetched; shared with the remote
}

func newNode(e *Engine, key string) *node {
	return &node{
		engine:     e,
		key:        key,
		containers: make(map[string]*container),
		mirrors:    make(map[string]*mirror),
		turns:      make(map[string]chan struct{}),
		uids:       make(map[int]*session),
	}
}

// turn returns the lock of a container's name: who has sent to it may start that container.
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

// take sends to a lock, in turn with others.
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

// freeBytes is what the mirrors leave of the disk. The caller holds mu.
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

// nameOf returns the name of the container of that ID, or what it is given: the name of one.
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
