package dockerengine

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
)

// explainDeath says why a container that was just started does not run any more. It is called before the container is
// removed, the last moment to find out.
func (h *host) explainDeath(ctx context.Context, id string) error {
	found, err := h.inspect(ctx, id)
	switch {
	case errdefs.IsNotFound(err):
		return againError{errors.New("it was removed from outside while it started")}
	case err != nil:
		return err
	case found.State.Running:
		return againError{errors.New("it was restarted from outside while it started")}
	case found.State.OOMKilled:
		return errors.New("it ran out of memory at its start; raise the memory limit of containers")
	}
	words := h.lastWords(ctx, id)
	if words == "" {
		words = "and said nothing"
	}
	return fmt.Errorf("it ended at its start with exit code %d: %s", found.State.ExitCode, words)
}

// lastWords returns the end of what a container's PID 1 has printed.
func (h *host) lastWords(ctx context.Context, id string) string {
	ctx, cancel := h.bound(ctx)
	defer cancel()
	logs, err := h.docker.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "20"})
	if err != nil {
		return ""
	}
	defer logs.Close()
	var words tail
	_, _ = stdcopy.StdCopy(&words, &words, logs) // a cut-off log is better than none
	return words.String()
}
