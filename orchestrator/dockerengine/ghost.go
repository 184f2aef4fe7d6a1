package dockerengine

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
)

// ghostGrace is how long the signs must last. For a moment they mean only that an engine has just started.
const ghostGrace = 10 * time.Second

// errGhost is [agent.ErrGone] for a container that its engine will for ever say runs.
var errGhost = fmt.Errorf("%w: its engine says that it runs, but it has no processes", agent.ErrGone)

// ghosts looks whether one container is a ghost: one that the engine still lists as running after its processes went,
// as happens when an engine restarts at the wrong moment. Nothing can be started in it, and it often cannot be removed.
type ghosts struct {
	since time.Time // of the first sign; zero = there is none
}

// seen is called when a program could not be started in a container that is said to run. That may have other reasons,
// such as no memory, no room for one more process, or a pause; but the engine shows no processes of a ghost alone.
func (g *ghosts) seen(ctx context.Context, h *host, id string) bool {
	_, err := h.docker.ContainerTop(ctx, id, client.ContainerTopOptions{Arguments: []string{"-eo", "pid"}})
	switch {
	case errdefs.IsInternal(err), errdefs.IsConflict(err), errdefs.IsNotFound(err):
	default: // it has processes, or the engine did not say
		g.since = time.Time{}
		return false
	}
	if g.since.IsZero() {
		g.since = time.Now()
	}
	return time.Since(g.since) >= ghostGrace
}
