package fake

import (
	"fmt"
	"slices"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// In the methods below, host is a launch ID or an address. Without a Cloud a host need not have been connected to.

// Unreachable cuts the network to a host, until Reconnect. Calls to its engine fail, also those that are under way and
// have had their effect; calls into containers wait, and so does the output of commands, which go on.
func (e *Engine) Unreachable(host string) { e.trouble(host, func(n *node) { n.away = true }) }

// HangHost makes every call to a host wait until Reconnect, or until its context ends.
func (e *Engine) HangHost(host string) { e.trouble(host, func(*node) {}) }

// WrongHost makes another machine answer in place of a host, until Reconnect: calls to its engine fail with
// orchestrator.ErrWrongHost, calls into containers wait.
func (e *Engine) WrongHost(host string) { e.trouble(host, func(n *node) { n.wrong = true }) }

func (e *Engine) trouble(host string, change func(*node)) {
	n := e.find(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
	if n.healed == nil {
		n.healed = make(chan struct{})
	}
	n.troubled.Store(true)
}

// DiskFull fills the disk of a host, or frees it: neither a fetch nor a checkout finds room.
func (e *Engine) DiskFull(host string, full bool) {
	n := e.find(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.full = full
}

// Reconnect undoes Unreachable, HangHost and WrongHost. Who is attached to a container that went meanwhile learns of
// it now.
func (e *Engine) Reconnect(host string) { e.find(host).reconnect() }

func (n *node) reconnect() {
	n.mu.Lock()
	healed := n.healed
	n.healed, n.away, n.wrong = nil, false, false
	n.troubled.Store(n.gone || n.moved != "")
	waiting := n.waiting
	n.waiting = nil
	n.mu.Unlock()
	for _, i := range waiting {
		i.end(agent.ErrGone)
	}
	if healed != nil {
		close(healed)
	}
}

// Heal undoes every fault but those of EngineOptions.Fault, and what has happened to containers and mirrors.
func (e *Engine) Heal() {
	e.heal()
	e.mu.Lock()
	nodes := sorted(e.nodes)
	for _, m := range e.remotes {
		m.serve()
	}
	e.mu.Unlock()
	for _, n := range nodes {
		n.reconnect()
		n.mu.Lock()
		n.full = false
		n.mu.Unlock()
	}
}

// CutConnections breaks every connection to a host; new ones succeed. Calls to its engine that are under way fail,
// whether they have had their effect or not; calls into containers and commands go on over a new connection.
func (e *Engine) CutConnections(host string) { e.find(host).cuts.Add(1) }

// RestartEngine restarts the container engine of a host: connections break, and all of its containers stop. Of an
// engine that keeps its containers alive meanwhile, only CutConnections would be seen.
func (e *Engine) RestartEngine(host string) {
	n := e.find(host)
	n.cuts.Add(1)
	n.killAll()
}

// KillContainer kills the containers of a name on all hosts, as the kernel does when memory is short. They stay where
// they are, not running. It reports whether there was one.
func (e *Engine) KillContainer(name string) bool { return e.each(name, (*node).stop) }

// RemoveContainer removes the containers of a name on all hosts, as an operator does. It reports whether there was one.
func (e *Engine) RemoveContainer(name string) bool { return e.each(name, (*node).forget) }

// each stops or removes the containers of a name. A stranger's stays.
func (e *Engine) each(name string, do func(*node, *container) func()) (found bool) {
	e.mu.Lock()
	nodes := sorted(e.nodes)
	e.mu.Unlock()
	for _, n := range nodes {
		n.mu.Lock()
		after := func() {}
		if c := n.containers[name]; c != nil && c.pool != "" {
			after, found = do(n, c), true
		}
		n.mu.Unlock()
		after()
	}
	return found
}

// BreakMirror leaves the mirrors of a name on all hosts as a fetch does that was cut off. It reports whether there was
// one.
func (e *Engine) BreakMirror(name string) (found bool) {
	e.mu.Lock()
	nodes := sorted(e.nodes)
	e.mu.Unlock()
	for _, n := range nodes {
		n.mu.Lock()
		if m := n.mirrors[name]; m != nil {
			m.whole, found = false, true
		}
		n.mu.Unlock()
	}
	return found
}

// PlantStranger puts a running container on a host that has nothing to do with any pool, in place of one that has the
// name, and returns its ID.
func (e *Engine) PlantStranger(host, name string) (id string) {
	n := e.find(host)
	n.mu.Lock()
	after := func() {}
	if c := n.containers[name]; c != nil {
		after = n.forget(c)
	}
	c := n.newContainer(orchestrator.ContainerSpec{Name: name}, "", "")
	n.run(c)
	n.mu.Unlock()
	after()
	return c.id
}

// PlantContainer puts a running container on a host, as a process left it there that had a pool of that name and has
// ended.
func (e *Engine) PlantContainer(host, pool, poolUID string, key naming.Key) {
	n := e.find(host)
	name := key.ContainerName(pool)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.containers[name] != nil {
		panic(fmt.Sprintf("fake: there is a container %s at %s", name, host))
	}
	n.run(n.newContainer(orchestrator.ContainerSpec{Name: name, Key: key}, pool, poolUID))
}

// find returns a host by its launch ID or its address. A test that names one that is not there is wrong.
func (e *Engine) find(host string) *node {
	if c := e.opts.Cloud; c != nil {
		if launch, ok := c.runs(host); ok {
			host = launch
		}
		if !slices.ContainsFunc(c.Machines(), func(m Machine) bool { return m.LaunchID == host }) {
			panic(fmt.Sprintf("fake: there is no host %q", host))
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.nodes {
		if n.launch == host {
			return n
		}
	}
	return e.node(host)
}
