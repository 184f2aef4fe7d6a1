package dockerengine

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

// daemon is the Docker engine of one instance. It owns the client of the engine. Its methods check the engine's answers,
// and know the pool's things by their labels.
type daemon struct {
	opts    Options
	log     *slog.Logger
	docker  *client.Client
	at      orchestrator.Endpoint
	machine machine
}

// bound returns a context with the deadline of a call that should be quick.
func (d *daemon) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.opts.CallTimeout)
}

// ownVolume returns the labels of a volume of the pool. ErrNameTaken: it is not the pool's.
func (d *daemon) ownVolume(ctx context.Context, name, kind string) (map[string]string, error) {
	found, err := d.inspectVolume(ctx, name)
	if err != nil {
		return nil, err
	}
	if !d.owns(found.Labels, kind) {
		return nil, fmt.Errorf("%w: volume %s is not this pool's. Remove it, or choose another Config.Name", orchestrator.ErrNameTaken, name)
	}
	return found.Labels, nil
}

// unbroken returns a context for a call whose outcome must be known. It has a deadline, but does not end with ctx.
func unbroken(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}

// discard kills and removes a container of berth's own, with its unnamed volumes. It is a success if another process is removing it.
func (d *daemon) discard(ctx context.Context, id string) error {
	_, err := d.docker.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if errdefs.IsConflict(err) {
		return nil
	}
	return ignoreAbsent(err)
}

// ignoreAbsent makes the removal of a thing that is gone a success.
func ignoreAbsent(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
