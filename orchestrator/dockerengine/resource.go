package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

// resources removes the pool's things that are no containers of sessions: volumes, networks and helper containers. It
// never touches a thing that is not the pool's.
type resources struct{ *daemon }

// RemoveResource implements [orchestrator.Host].
func (r *resources) RemoveResource(ctx context.Context, res orchestrator.Resource) error {
	ctx, cancel := context.WithTimeout(ctx, r.opts.StartTimeout)
	defer cancel()
	var err error
	switch {
	case res.Type == typeContainer && res.Kind == kindWarden:
		err = r.removeWarden(ctx, res.ID)
	case res.Type == typeContainer && res.Kind != kindContainer: // Remove and RemoveMirror remove the others
		err = r.removeHelper(ctx, res.ID, res.Kind)
	case res.Type == typeVolume && res.Kind != kindMirror:
		err = r.removeVolume(ctx, res.ID, res.Kind)
	case res.Type == typeNetwork:
		err = r.removeNetwork(ctx, res.ID, res.Kind)
	default:
		return fmt.Errorf("%s %s of kind %q is no resource", res.Type, res.ID, res.Kind)
	}
	if err != nil {
		return fmt.Errorf("removing %s %s of kind %q: %w", res.Type, res.ID, res.Kind, r.explainLost(ctx, err))
	}
	return nil
}

// removeHelper removes a container of the pool that serves no sessions. It is a helper, which is never started, or of a kind
// that only a later version knows. ErrInUse: a process of another store has made the container, and it runs.
func (r *resources) removeHelper(ctx context.Context, id, kind string) error {
	found, err := r.inspect(ctx, id)
	if err != nil || !r.owns(found.Config.Labels, kind) {
		return ignoreAbsent(err)
	}
	if found.State.Running && found.Config.Labels[labelPoolUID] != r.at.PoolUID {
		return errOtherPool(r.at.Pool)
	}
	return r.discard(ctx, id)
}

// removeWarden removes a warden. ErrInUse: a container of this pool, or of another store's pool of that name, needs it. The
// containers show which warden they have by the volume of its socket, which has its name.
func (r *resources) removeWarden(ctx context.Context, id string) error {
	found, err := r.inspect(ctx, id)
	if err != nil || !r.owns(found.Config.Labels, kindWarden) {
		return ignoreAbsent(err)
	}
	served, err := r.listContainers(ctx, true, r.filter(kindContainer).Add("volume", strings.TrimPrefix(found.Name, "/")))
	if err != nil {
		return err
	}
	if len(served) > 0 {
		return fmt.Errorf("%w: container %s has rooms from it", orchestrator.ErrInUse, nameOf(served[0].Names))
	}
	return r.discard(ctx, id)
}

func (r *resources) removeNetwork(ctx context.Context, id, kind string) error {
	found, err := r.inspectNetwork(ctx, id)
	if err != nil || !r.owns(found.Labels, kind) {
		return ignoreAbsent(err)
	}
	_, err = r.docker.NetworkRemove(ctx, id, client.NetworkRemoveOptions{})
	if errdefs.IsConflict(err) || errdefs.IsPermissionDenied(err) { // it has containers; engines differ in the error
		return fmt.Errorf("%w: %w", orchestrator.ErrInUse, err)
	}
	return ignoreAbsent(err)
}

// removeVolume removes a volume of the pool. A volume that is not the pool's is left alone. It is a success if there is no
// volume. ErrInUse: a container uses it.
func (r *resources) removeVolume(ctx context.Context, name, kind string) error {
	_, err := r.ownVolume(ctx, name, kind)
	if errdefs.IsNotFound(err) || errors.Is(err, orchestrator.ErrNameTaken) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := r.bound(ctx)
	defer cancel()
	_, err = r.docker.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
	if errdefs.IsConflict(err) {
		return fmt.Errorf("%w: %w", orchestrator.ErrInUse, err)
	}
	return ignoreAbsent(err)
}

// RemoveMirror implements [orchestrator.Host].
func (r *resources) RemoveMirror(ctx context.Context, name string) error {
	if err := r.removeVolume(ctx, name, kindMirror); err != nil {
		return fmt.Errorf("removing mirror %s: %w", name, r.explainLost(ctx, err))
	}
	return nil
}
