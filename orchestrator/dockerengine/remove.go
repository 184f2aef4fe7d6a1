package dockerengine

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// Remove implements [orchestrator.Host].
func (h *host) Remove(ctx context.Context, name, id string) error {
	ctx, cancel := context.WithTimeout(ctx, h.opts.StartTimeout)
	defer cancel()
	if err := h.removeNamed(ctx, name, id); err != nil {
		return fmt.Errorf("removing container %s: %w", name, err)
	}
	return nil
}

func (h *host) removeNamed(ctx context.Context, name, id string) error {
	found, err := h.inspect(ctx, name)
	if errdefs.IsNotFound(err) {
		return h.removeVolume(ctx, workVolume(name), kindWork)
	}
	if err != nil {
		return err
	}
	if !h.owns(found.Config.Labels, kindContainer) || id != "" && found.ID != id {
		return nil // the pool has no such container of this name
	}
	if found.Config.Labels[labelPoolUID] != h.at.PoolUID && found.State.Running {
		used, err := h.inUse(ctx, found.ID)
		if err != nil && !errors.Is(err, agent.ErrGone) {
			return err
		}
		if used {
			return errOtherPool(h.at.Pool)
		}
	}
	return h.removeContainer(ctx, found.ID, workVolume(name))
}

// removeContainer kills and removes a container, then its work volume. It waits for a removal that somebody else has
// begun, and tries again when the engine fails to unmount something that is busy.
func (h *host) removeContainer(ctx context.Context, id, work string) error {
	h.attached.drop(id)
	for wait := minPause; ; wait = min(2*wait, maxPause) {
		_, err := h.docker.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err == nil || errdefs.IsNotFound(err) {
			break
		}
		if !errdefs.IsConflict(err) && !errdefs.IsInternal(err) {
			return err
		}
		if pause(ctx, wait) != nil {
			return err
		}
	}
	return h.removeVolume(ctx, work, kindWork)
}

// removeVolume removes a volume of the pool; one that is not the pool's is left alone. Absent is success. ErrInUse: a
// container has it.
func (h *host) removeVolume(ctx context.Context, name, kind string) error {
	_, err := h.ownVolume(ctx, name, kind)
	if errdefs.IsNotFound(err) || errors.Is(err, orchestrator.ErrNameTaken) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := h.bound(ctx)
	defer cancel()
	_, err = h.docker.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
	if errdefs.IsConflict(err) {
		return fmt.Errorf("%w: %w", orchestrator.ErrInUse, err)
	}
	return ignoreAbsent(err)
}

// RemoveMirror implements [orchestrator.Host].
func (h *host) RemoveMirror(ctx context.Context, name string) error {
	if err := h.removeVolume(ctx, name, kindMirror); err != nil {
		return fmt.Errorf("removing mirror %s: %w", name, err)
	}
	return nil
}

// sweep removes all that one attempt has made. It goes on when the caller has given up. What it cannot remove is found
// by the next Ensure of the same name, or by Purge.
func (h *host) sweep(ctx context.Context, attempt string) {
	ctx, cancel := unbroken(ctx, h.opts.StartTimeout)
	defer cancel()
	filter := h.filter("").Add("label", labelAttempt+"="+attempt)
	if err := h.sweepMatching(ctx, filter); err != nil {
		h.log.Warn("undoing a failed start", "error", err)
	}
}

func (h *host) sweepMatching(ctx context.Context, filter client.Filters) error {
	containers, err := h.docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filter})
	if err != nil {
		return err
	}
	var failed []error
	for _, c := range containers.Items {
		failed = append(failed, h.removeContainer(ctx, c.ID, workVolume(nameOf(c.Names))))
	}
	volumes, err := h.docker.VolumeList(ctx, client.VolumeListOptions{Filters: filter})
	failed = append(failed, err)
	for _, v := range volumes.Items {
		_, err := h.docker.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{})
		if errdefs.IsConflict(err) {
			err = nil // the mirror of this attempt serves somebody else's container already
		}
		failed = append(failed, ignoreAbsent(err))
	}
	return errors.Join(failed...)
}

// sweepContainer removes all that was made with a container. The engine says by its label which attempt that was.
func (h *host) sweepContainer(ctx context.Context, id string) {
	found, err := h.inspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return
	}
	if err != nil {
		h.log.Warn("undoing a start that nobody waits for", "id", id, "error", err)
		return
	}
	h.sweep(ctx, found.Config.Labels[labelAttempt])
}

// Purge implements [orchestrator.Host].
func (h *host) Purge(ctx context.Context) error {
	held, err := h.List(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, c := range held.Containers {
		failed = append(failed, ignoreInUse(h.Remove(ctx, c.Name, "")))
	}
	ctx, cancel := context.WithTimeout(ctx, h.opts.StartTimeout)
	defer cancel()
	failed = append(failed, h.purgeHelpers(ctx), h.purgeVolumes(ctx), h.purgeNetworks(ctx))
	h.forgetShared()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("removing all of pool %q from the Docker engine at %s: %w", h.at.Pool, h.at.Address, err)
	}
	return nil
}

// purgeHelpers removes containers that a process did not live to remove. One that is in use loses the race and its
// maker tries again.
func (h *host) purgeHelpers(ctx context.Context) error {
	list, err := h.docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: h.filter(kindHelper)})
	failed := []error{err}
	for _, c := range list.Items {
		failed = append(failed, h.removeHelper(ctx, c.ID))
	}
	return errors.Join(failed...)
}

func (h *host) purgeVolumes(ctx context.Context) error {
	list, err := h.docker.VolumeList(ctx, client.VolumeListOptions{Filters: h.filter("")})
	failed := []error{err}
	for _, v := range list.Items {
		failed = append(failed, ignoreInUse(h.removeVolume(ctx, v.Name, v.Labels[labelKind])))
	}
	return errors.Join(failed...)
}

func (h *host) purgeNetworks(ctx context.Context) error {
	networks, err := h.listNetworks(ctx)
	failed := []error{err}
	for _, n := range networks {
		_, err := h.docker.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		if errdefs.IsConflict(err) || errdefs.IsPermissionDenied(err) { // it has containers; which of the two depends on the engine
			err = nil
		}
		failed = append(failed, ignoreAbsent(err))
	}
	return errors.Join(failed...)
}

func ignoreInUse(err error) error {
	if errors.Is(err, orchestrator.ErrInUse) {
		return nil
	}
	return err
}
