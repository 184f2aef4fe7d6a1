package dockerengine

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
)

// ghostGrace is how long the signs of a ghost must last. An engine that has just started shows them for a moment.
const ghostGrace = 10 * time.Second

// errGhost is [agent.ErrGone] for a container that its engine permanently lists as running.
var errGhost = fmt.Errorf("%w: its engine lists it as running, but it has no processes", agent.ErrGone)

// ghosts finds out whether one container is a ghost: a container that the engine still lists as running although its
// processes are gone, which happens when an engine restarts at the wrong moment. No program can be started in a ghost, and
// often it cannot be removed.
type ghosts struct {
	since time.Time // of the first sign; zero = there is none
}

// seen reports whether a container is a ghost. It is called when no program could be started in a container that is listed
// as running. There may be other reasons for that, such as a lack of memory, the limit on processes, or a pause. But only
// for a ghost does the engine show no processes.
func (g *ghosts) seen(ctx context.Context, d *daemon, id string) bool {
	_, err := d.docker.ContainerTop(ctx, id, client.ContainerTopOptions{Arguments: []string{"-eo", "pid"}})
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
