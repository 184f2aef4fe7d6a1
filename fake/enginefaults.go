package fake

import (
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Unreachable cuts the network to a host, until Reconnect. Calls to its engine fail, also those that are under way and
// have had their effect; calls into containers wait, and so does the output of commands, which go on.
func (e *Engine) Unreachable(host string) { e.trouble(host, func(n *node) { n.away = true }) }

// HangHost makes every call to a host wait until Reconnect, or until its context ends.
func (e *Engine) HangHost(host string) { e.trouble(host, func(*node) {}) }

// WrongHost makes another machine answer in place of a host, until Reconnect. Calls to its engine fail with
// orchestrator.ErrWrongHost, and calls into containers wait.
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

// DiskFull fills the disk of a host, or frees it. On a full disk, fetches and checkouts fail.
func (e *Engine) DiskFull(host string, full bool) {
	n := e.find(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.full = full
}

// RefuseRooms makes a host start containers whose sessions have no rooms, for a reason, as an engine does that does not run
// berth's warden. Running containers stay as they are. With "", the host gives rooms again.
func (e *Engine) RefuseRooms(host, reason string) {
	n := e.find(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.noRooms = reason
}

// isolation is what a container that is started now gives its sessions. The caller holds mu.
func (n *node) isolation() orchestrator.Isolation {
	if n.noRooms != "" {
		return orchestrator.Isolation{Level: store.IsolationUID, Reason: n.noRooms, CheckoutReason: orchestrator.NoRooms}
	}
	o := n.engine.opts
	return orchestrator.Isolation{
		Level: store.IsolationRooms, DiskQuota: o.DiskQuota, SharedCheckouts: o.NoSharedCheckouts == "", CheckoutReason: o.NoSharedCheckouts,
	}
}

// Reconnect undoes Unreachable, HangHost and WrongHost. Callers that are attached to a container which is gone meanwhile
// learn of it now.
func (e *Engine) Reconnect(host string) { e.find(host).reconnect() }

func (n *node) reconnect() {
	n.mu.Lock()
	healed := n.healed
	n.healed, n.away, n.wrong = nil, false, false
	n.troubled.Store(n.gone || n.moved != "")
	waiting := n.waiting
	n.waiting = nil
	why := make([]error, len(waiting))
	for at, i := range waiting {
		why[at] = i.container.gone()
	}
	n.mu.Unlock()
	for at, i := range waiting {
		i.end(why[at])
	}
	if healed != nil {
		close(healed)
	}
}

// Heal undoes every fault, except those of EngineOptions.Fault and those that have already affected containers and
// mirrors.
func (e *Engine) Heal() {
	e.heal()
	e.mu.Lock()
	nodes := sorted(e.nodes)
	e.mu.Unlock()
	e.remotes.serveAll()
	for _, n := range nodes {
		n.reconnect()
		n.mu.Lock()
		n.full, n.noRooms = false, e.opts.NoRooms
		n.mu.Unlock()
	}
}

// CutConnections breaks every connection to a host. New connections succeed. Calls to its engine that are under way
// fail, even if they have had their effect. Calls into containers and commands continue over a new connection.
func (e *Engine) CutConnections(host string) { e.find(host).cuts.Add(1) }

// RestartEngine restarts the container engine of a host: connections break, and all of its containers stop. The restart
// of an engine that keeps its containers alive looks like CutConnections.
func (e *Engine) RestartEngine(host string) {
	n := e.find(host)
	n.cuts.Add(1)
	n.killAll()
}

// KillContainer kills the containers of a name on all hosts, as the kernel does when memory is short. They stay, but do
// not run. It reports whether there was one.
func (e *Engine) KillContainer(name string) bool { return e.each(name, (*node).stop) }

// OutOfMemory uses up the memory of the containers of a name on all hosts, so that the kernel kills the commands that
// run in a session. Another command that runs in the same container, and then fails, cannot know that it was not the
// killed one. OutOfMemory reports whether a command was killed.
func (e *Engine) OutOfMemory(name, session string) bool {
	return endCommands(e, name, session, exitOutOfMemory)
}

// EndCommands ends the commands that run in a session of the containers of a name on all hosts, as an agent does if they have used
// up the local ports of the container. reason is for their user. EndCommands reports whether a command was ended.
func (e *Engine) EndCommands(name, session, reason string) bool {
	exit := exitKilled
	exit.Reason = reason
	return endCommands(e, name, session, exit)
}

func endCommands(e *Engine, name, session string, exit agent.Exit) bool {
	found := false
	e.each(name, func(n *node, c *container) func() {
		s := c.sessions[session]
		if s == nil || len(s.processes) == 0 {
			return func() {}
		}
		found = true
		if exit.OutOfMemory {
			c.oomKills += len(s.processes)
		}
		killed := s.processes
		s.processes, s.since = nil, time.Now()
		return func() {
			for _, p := range killed {
				p.end(exit, nil)
			}
		}
	})
	return found
}

// DieOutOfMemory is KillContainer for a lack of memory that kills the agent itself.
func (e *Engine) DieOutOfMemory(name string) bool {
	return e.each(name, func(n *node, c *container) func() {
		c.lack = true
		return n.stop(c)
	})
}

// RemoveContainer removes the containers of a name on all hosts, as an operator does. Their volumes stay. It reports
// whether there was one.
func (e *Engine) RemoveContainer(name string) bool {
	return e.each(name, func(n *node, c *container) func() {
		for _, r := range n.resources {
			if r.container == c {
				r.container = nil
			}
		}
		return n.forget(c)
	})
}

// each stops or removes the containers of a name. It leaves a stranger's alone.
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

// BreakMirror leaves the mirrors of a name on all hosts in the state of a fetch that was cut off. It reports whether
// there was one.
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

// PlantStranger puts a running container of no pool on a host, and returns its ID. It replaces a container that has the
// name.
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

// PlantContainer puts a running container on a host, as if left by a process that had a pool of that name and has
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

// find returns a host by its launch ID or its address. It panics if the Cloud has no such machine: the test is wrong.
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
