package dockerengine

import (
	"cmp"

	"github.com/berth-go/berth/orchestrator"
)

// The shares of a container's processes. The kernel counts threads as processes.
const (
	mostPerSession  = 1024
	leastPerSession = 128 // fewer are too few to work with, also for the git of the mirrors, which has the same limit
	agentProcesses  = 256 // for the agent, its git, and the processes that the engine starts to reach the agent
	roomProcesses   = 32  // of the first process of a session's room, which the agent adds to the session's
	usualSessions   = 10
)

// processes returns how many processes a container may have, -1 for any number, and how many each of its sessions may have.
// If every session has as many as it may, some are left for the agent. Without them the agent could not start, and would
// die when its runtime needs one more thread.
func processes(spec orchestrator.ContainerSpec) (all int64, session int) {
	sessions := int64(cmp.Or(spec.Sessions, usualSessions))
	asked := spec.Limits.Session.PIDs
	each := min(cmp.Or(max(asked, 0), mostPerSession), maxProcesses)
	if asked < 0 {
		each = maxProcesses
	}
	switch all = spec.Limits.PIDs; {
	case all < 0, all == 0 && asked < 0:
		return -1, int(each)
	case all == 0:
		return agentProcesses + sessions*(each+roomProcesses), int(each)
	case asked != 0:
		return all, int(each)
	}
	return all, int(min(max((all-agentProcesses)/sessions-roomProcesses, leastPerSession), mostPerSession))
}
