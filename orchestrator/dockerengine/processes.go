package dockerengine

import (
	"cmp"

	"github.com/berth-go/berth/orchestrator"
)

// The share of a container's processes and threads, which the kernel counts alike.
const (
	mostPerSession  = 1024
	leastPerSession = 128 // less is no room to work in, nor for the git of the mirrors, which has the same limit
	agentProcesses  = 256 // for the agent, its git, and what the engine starts to reach it
	usualSessions   = 10
)

// processes returns how many processes a container may have, -1 for any number, and how many one of its sessions. When
// each session has as many as it may, there is room for the agent: without it, the agent could not start, and if its
// runtime wanted one more thread, not live.
func processes(spec orchestrator.ContainerSpec) (all int64, session int) {
	sessions := int64(cmp.Or(spec.Sessions, usualSessions))
	switch all = spec.Limits.PIDs; {
	case all == 0:
		return agentProcesses + sessions*mostPerSession, mostPerSession
	case all < 0:
		return -1, mostPerSession
	}
	return all, int(min(max((all-agentProcesses)/sessions, leastPerSession), mostPerSession))
}
