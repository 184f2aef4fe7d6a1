package fake

import (
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// container is a container on a node, of whatever owner.
type container struct {
	node    *node
	spec    orchestrator.ContainerSpec
	id      string
	pool    string // "" is nobody's that we know
	poolUID string
	created time.Time
	running bool
	dead    chan struct{} // closed when it does not run any more, or never will
	mirror  *mirror
	remote  string // what was last fetched into it

	firstOfMirror bool // its mirror was made with it
	sessions      map[string]*session
	insides       []*inside // by when they attached
}

// session is a session in a container. There may be 100,000 of them: it holds what it must.
type session struct {
	id, dir, branch, commit string
	uid                     int
	env                     map[string]string // the caller's own
	files                   *Files            // nil until a command asks
	processes               []*process        // those that run
	since                   time.Time         // when the last one ended; when the session was opened if there was none
}

// newContainer puts a container on the host that does not run yet. The caller holds mu.
func (n *node) newContainer(spec orchestrator.ContainerSpec, pool, poolUID string) *container {
	n.made++
	c := &container{
		node: n, spec: spec, pool: pool, poolUID: poolUID, created: time.Now(),
		id:       fmt.Sprintf("%s-%s-%d", n.key, spec.Name, n.made),
		dead:     make(chan struct{}),
		sessions: make(map[string]*session),
	}
	n.containers[spec.Name] = c
	if pool == "" {
		return c
	}
	if c.mirror = n.mirrors[spec.Name]; c.mirror == nil {
		c.firstOfMirror = true
		c.mirror = &mirror{name: spec.Name, key: spec.Key, pool: pool, created: c.created, turn: make(chan struct{}, 1)}
		n.mirrors[spec.Name] = c.mirror
	}
	return c
}

// run makes a new container run. The caller holds mu.
func (n *node) run(c *container) {
	c.running = true
	if c.pool == "" {
		return
	}
	n.engine.mu.Lock()
	defer n.engine.mu.Unlock()
	k := n.engine.count(c.spec.Name)
	k.starts++
	k.running++
	k.maxRunning = max(k.maxRunning, k.running)
}

// stop makes a container stop running. The caller holds mu, and afterwards, without it, calls the function that stop
// returns.
func (n *node) stop(c *container) (after func()) {
	select {
	case <-c.dead:
		return func() {}
	default:
	}
	if c.running && c.pool != "" {
		n.engine.mu.Lock()
		n.engine.count(c.spec.Name).running--
		n.engine.mu.Unlock()
	}
	c.running = false
	close(c.dead)
	var killed []*process
	for _, s := range sorted(c.sessions) {
		killed = append(killed, s.processes...)
		s.processes = nil
		if n.uids[s.uid] == s {
			delete(n.uids, s.uid)
		}
	}
	clear(c.sessions)
	told := c.insides
	c.insides = nil
	told = slices.DeleteFunc(told, func(i *inside) bool {
		unseen := n.healed != nil || n.left(i.host.endpoint.Address)
		if unseen {
			n.waiting = append(n.waiting, i)
		}
		return unseen
	})
	return func() {
		for _, p := range killed {
			p.end(agent.Exit{}, agent.ErrGone)
		}
		for _, i := range told {
			i.end(agent.ErrGone)
		}
	}
}

// forget stops a container and removes it. The caller does as with stop.
func (n *node) forget(c *container) (after func()) {
	if n.containers[c.spec.Name] == c {
		delete(n.containers, c.spec.Name)
	}
	return n.stop(c)
}
