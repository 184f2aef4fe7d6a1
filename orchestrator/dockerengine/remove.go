package dockerengine

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/loop"
)

// remover removes containers of sessions, with everything that was made with them.
type remover struct {
	*daemon
	agents    *agents
	resources *resources
}

// Remove implements [orchestrator.Host].
func (r *remover) Remove(ctx context.Context, name, id string) error {
	ctx, cancel := context.WithTimeout(ctx, r.opts.StartTimeout)
	defer cancel()
	if err := r.removeNamed(ctx, name, id); err != nil {
		return fmt.Errorf("removing container %s: %w", name, r.explainLost(ctx, err))
	}
	return nil
}

func (r *remover) removeNamed(ctx context.Context, name, id string) error {
	found, err := r.inspect(ctx, name)
	if errdefs.IsNotFound(err) {
		return r.resources.removeVolume(ctx, workVolume(name), kindWork)
	}
	if err != nil {
		return err
	}
	if !r.owns(found.Config.Labels, kindContainer) || id != "" && found.ID != id {
		return nil // the pool does not have that container any more
	}
	if found.Config.Labels[labelPoolUID] != r.at.PoolUID && found.State.Running {
		used, err := r.agents.inUse(ctx, found.ID)
		if err != nil && !errors.Is(err, agent.ErrGone) {
			return err
		}
		if used {
			return errOtherPool(r.at.Pool)
		}
	}
	return r.removeContainer(ctx, found.ID, workVolume(name))
}

// removeContainer kills and removes a container, and then its work volume. It waits for a removal that another process has
// begun, and tries again if the engine cannot unmount something that is busy.
func (r *remover) removeContainer(ctx context.Context, id, work string) error {
	r.agents.attached.drop(id)
	var err error
	_ = loop.Retry(ctx, settlePauses, func() (done bool) { // if ctx ends in a pause, err is the last failure
		_, err = r.docker.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		err = ignoreAbsent(err)
		return !errdefs.IsConflict(err) && !errdefs.IsInternal(err)
	})
	if err != nil {
		return err
	}
	return r.resources.removeVolume(ctx, work, kindWork)
}

// sweep removes everything that one attempt has made. It goes on if the caller gives up. The next Ensure of the same name, or
// Purge, removes what sweep cannot remove.
func (r *remover) sweep(ctx context.Context, attempt string) {
	ctx, cancel := unbroken(ctx, r.opts.StartTimeout)
	defer cancel()
	filter := r.filter("").Add("label", labelAttempt+"="+attempt)
	if err := r.sweepMatching(ctx, filter); err != nil {
		r.log.Warn("cannot undo a failed start", "error", err)
	}
}

func (r *remover) sweepMatching(ctx context.Context, filter client.Filters) error {
	containers, err := r.listContainers(ctx, true, filter)
	if err != nil {
		return err
	}
	var failed []error
	for _, c := range containers {
		failed = append(failed, r.removeContainer(ctx, c.ID, workVolume(nameOf(c.Names))))
	}
	volumes, err := r.listVolumes(ctx, filter)
	failed = append(failed, err)
	for _, v := range volumes {
		_, err := r.docker.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{})
		if errdefs.IsConflict(err) {
			err = nil // another container uses the mirror of this attempt already
		}
		failed = append(failed, ignoreAbsent(err))
	}
	return errors.Join(failed...)
}

// sweepContainer removes everything that was made with a container. The container's label names the attempt.
func (r *remover) sweepContainer(ctx context.Context, id string) {
	found, err := r.inspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return
	}
	if err != nil {
		r.log.Warn("cannot undo a start that was given up", "id", id, "error", err)
		return
	}
	r.sweep(ctx, found.Config.Labels[labelAttempt])
}
