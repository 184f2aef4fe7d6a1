package fake

import (
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Container is a container as it really is.
type Container struct {
	Host     string // the launch ID of its instance; without a Cloud the address
	Name, ID string
	Key      naming.Key
	Pool     string // "" is a stranger's
	PoolUID  string
	Running  bool
	Created  time.Time
	// Isolation is what separates its sessions: see EngineOptions.NoRooms and Engine.RefuseRooms.
	Isolation store.Isolation
	Egress    orchestrator.Egress // as it was started
	Remote    string              // the URL that was last fetched into its mirror; "" is none
	Sessions  []SessionInside     // by ID
	Attached  int                 // how many are attached to its agent
}

// SessionInside is a session in a container as it really is.
type SessionInside struct {
	ID        string
	UID       int
	Workdir   string
	Branch    string
	Processes int  // that run
	Proven    bool // agent.Session.Proven

	Submodules, LFS bool // as agent.Session has them
}

// Containers returns every container of every host, strangers' included, by host and name.
func (e *Engine) Containers() []Container {
	return onNodes(e, func(n *node) (all []Container) {
		for _, c := range sorted(n.containers) {
			all = append(all, c.truth())
		}
		return all
	})
}

// onNodes joins what list returns for each host, in the order of the hosts. list has the node's mu.
func onNodes[T any](e *Engine, list func(*node) []T) (all []T) {
	e.mu.Lock()
	nodes := sorted(e.nodes)
	e.mu.Unlock()
	for _, n := range nodes {
		n.mu.Lock()
		all = append(all, list(n)...)
		n.mu.Unlock()
	}
	return all
}

// truth is the container as it is. The caller holds the node's mu.
func (c *container) truth() Container {
	t := Container{
		Host: c.node.key, Name: c.spec.Name, ID: c.id, Key: c.spec.Key, Pool: c.pool, PoolUID: c.poolUID,
		Running: c.running, Created: c.created, Remote: c.remote, Isolation: c.rooms.Level, Egress: c.spec.Egress, Attached: len(c.insides),
	}
	for _, s := range sorted(c.sessions) {
		t.Sessions = append(t.Sessions, SessionInside{
			ID: s.id, UID: s.uid, Workdir: s.workdir(), Branch: s.branch, Processes: len(s.processes), Proven: s.proven,
			Submodules: s.submodules, LFS: s.lfs,
		})
	}
	return t
}

// MirrorState is a mirror as it really is.
type MirrorState struct {
	Host  string // as in Container
	Name  string
	Key   naming.Key
	Whole bool // neither empty nor broken
	Size  int64
	// Private says that a credential was needed to fetch something in it
	Private bool
}

// Mirrors returns every mirror of every host, by host and name.
func (e *Engine) Mirrors() []MirrorState {
	return onNodes(e, func(n *node) (all []MirrorState) {
		for _, m := range sorted(n.mirrors) {
			all = append(all, MirrorState{Host: n.key, Name: m.name, Key: m.key, Whole: m.whole, Size: m.size, Private: m.private})
		}
		return all
	})
}

// counts counts the events of the containers of one name, over all hosts.
type counts struct {
	starts, fetches     int
	fills               int
	running, maxRunning int
}

// count returns the counts of a name. The caller holds mu.
func (e *Engine) count(name string) *counts {
	k := e.counts[name]
	if k == nil {
		k = new(counts)
		e.counts[name] = k
	}
	return k
}

func (e *Engine) counted(name string) counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return *e.count(name)
}

// Starts returns how often a container of a name was started, over all hosts.
func (e *Engine) Starts(name string) int { return e.counted(name).starts }

// Fetches returns how often a remote was asked for the containers of a name, over all hosts, with or without success.
func (e *Engine) Fetches(name string) int { return e.counted(name).fetches }

// Fills returns how often a cache was filled for the containers of a name, over all hosts.
func (e *Engine) Fills(name string) int { return e.counted(name).fills }

// MaxRunning returns how many containers of a name ran at the same time when they were most, over all hosts.
func (e *Engine) MaxRunning(name string) int { return e.counted(name).maxRunning }

// MaxSessions returns how many sessions one host had at the same time when they were most.
func (e *Engine) MaxSessions() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.most
}
