package dockerengine

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// explainDeath returns why a container that was just started does not run any more. It must be called before the container
// is removed.
func (e *ensuring) explainDeath(ctx context.Context, id string) error {
	found, err := e.inspect(ctx, id)
	switch {
	case errdefs.IsNotFound(err):
		return againError{errors.New("it was removed from outside while it started")}
	case err != nil:
		return err
	case found.State.Running:
		return againError{errors.New("it was restarted from outside while it started")}
	case found.State.OOMKilled:
		return errors.New("it ran out of memory while it started; raise the memory limit of containers")
	}
	words := e.lastWords(ctx, id)
	if found.State.ExitCode == agent.ExitNoWalls && e.isolation.Level == store.IsolationRooms {
		return e.withoutRooms(words)
	}
	if words == "" {
		words = "it has printed nothing"
	}
	return fmt.Errorf("it ended while it started, with exit code %d: %s", found.State.ExitCode, words)
}

// lastWords returns the end of the output of a container's PID 1.
func (d *daemon) lastWords(ctx context.Context, id string) string {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	logs, err := d.docker.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "20"})
	if err != nil {
		return ""
	}
	defer logs.Close()
	var words tail
	_, _ = stdcopy.StdCopy(&words, &words, logs) // a log that is cut off is better than none
	return words.String()
}
