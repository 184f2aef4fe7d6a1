package fake

import (
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// container is a container on a node, of any owner.
type container struct {
	node    *node
	spec    orchestrator.ContainerSpec
	id      string
	pool    string // "" = of an unknown owner
	poolUID string
	created time.Time
	running bool
	rooms   orchestrator.Isolation
	dead    chan struct{} // closed when it has stopped, or will never run
	mirror  *mirror
	remote  string // the remote of the last fetch

	oomKills int  // processes in it that were killed for lack of memory
	lack     bool // it died of lack of memory

	firstOfMirror bool // its mirror was made with it
	sessions      map[string]*session
	insides       []*inside // in the order in which they attached
	ended         []agent.EndedSession
	endings       int           // how many sessions have been ended
	endedMore     chan struct{} // closed when there are more; nil = nobody waits
	questions     questions
	asked         int // questions so far
}

// session is a session in a container. It is small, because there may be 100,000 of them.
type session struct {
	id, dir, branch, commit string
	uid                     int
	proven                  bool              // as the caller says
	asks                    bool              // its gits ask for credentials
	ssh                     bool              // it has an agent of ssh
	knownHosts              string            // of ssh, beside those that are known in any case
	submodules, lfs         bool              // as the caller wants
	env                     map[string]string // the caller's own
	files                   *Files            // nil until a command asks
	git                     *repository
	author                  string      // of its commits
	processes               []*process  // those that run
	history                 *history    // nil until a command starts
	listeners               []*listener // in the order of their ports
	lines                   int         // connections of Dial
	over                    string      // why the agent has ended it; "" = it has not
	since                   time.Time   // when the last command ended, or when the session was opened if there was none
	begun                   start
	prepared                *prepared // the layer that its files begin with; nil = none
}

// newContainer puts a container on the host, and does not run it. The caller holds mu.
func (n *node) newContainer(spec orchestrator.ContainerSpec, pool, poolUID string) *container {
	n.made++
	c := &container{
		node: n, spec: spec, pool: pool, poolUID: poolUID, created: time.Now(), rooms: n.isolation(),
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
		c.mirror = &mirror{name: spec.Name, key: spec.Key, pool: pool, created: c.created, turn: make(chan struct{}, 1), preparing: make(chan struct{}, 1)}
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

// stop makes a container stop running. The caller holds mu. It then releases mu and calls the function that stop
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
	attached := c.insides
	c.insides = nil
	attached = slices.DeleteFunc(attached, func(i *inside) bool {
		unseen := n.healed != nil || n.left(i.host.endpoint.Address)
		if unseen {
			n.waiting = append(n.waiting, i)
		}
		return unseen
	})
	gone := c.gone()
	return func() {
		for _, p := range killed {
			p.end(agent.Exit{}, gone)
		}
		for _, i := range attached {
			i.end(gone)
		}
	}
}

// gone returns why a container that does not run cannot be used. The caller holds mu.
func (c *container) gone() error {
	if c.lack {
		return fmt.Errorf("%w: %w", agent.ErrGone, agent.ErrOutOfMemory)
	}
	return agent.ErrGone
}

// forget stops a container and removes it. The caller calls its result as that of stop.
func (n *node) forget(c *container) (after func()) {
	if n.containers[c.spec.Name] == c {
		delete(n.containers, c.spec.Name)
	}
	for id, r := range n.resources {
		if r.container == c {
			delete(n.resources, id)
		}
	}
	return n.stop(c)
}
