package agent

import (
	"context"
	"errors"
	"net/http"

	"github.com/berth-go/berth/agent/internal/wire"
)

// Isolation says what stands between the sessions of a container.
type Isolation struct {
	// Rooms says that each session is in a room: PID, mount and IPC namespaces and a cgroup of its own. If it is false, the
	// sessions' uids are all that divides them.
	Rooms  bool
	Reason string // why something is missing
	Cgroup int    // the version, 1 or 2; 0 = not known
	Memory bool   // the memory of each session is bounded
	CPU    bool   // CPU time is shared by weight between sessions
	PIDs   bool   // the processes of each session are bounded

	// Network says that the sessions reach what the egress policy allows alone.
	Network bool

	// DiskQuota says that the file system bounds what each session has on the disk. If it is false, the agent measures that, and
	// ends a session that has too much.
	DiskQuota bool

	// Checkouts says that sessions share the files of a commit: a checkout is a mount over them, and has what its session has changed.
	// If it is false, git writes all files of each checkout.
	Checkouts bool
	Copies    string // why git writes them; "" if Checkouts is true, or if the agent is too old to tell
}

// Isolation asks the agent what stands between sessions that will be opened. An agent that is too old to tell has no rooms.
func (c *Client) Isolation(ctx context.Context) (Isolation, error) {
	var i *wire.Isolation
	err := c.do(ctx, request{method: http.MethodGet, path: "isolation", answer: &i, timeout: short})
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return Isolation{Reason: "the container's agent is too old for rooms"}, nil
	case err != nil:
		return Isolation{}, err
	case i == nil:
		return Isolation{}, errIncomplete
	}
	return Isolation(*i), nil
}
