package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/orchestrator"
)

const (
	// startGrace is how long a container that was created may not run yet. The process that made it may be starting it.
	startGrace = 5 * time.Second
	// claimGrace is how long the process that uses a running container has to connect to it, or to connect again.
	claimGrace = 2 * time.Second
)

// resolve deals with the container that has the name already. It adopts the container, removes it to free the name, or
// does neither.
func (e *ensuring) resolve(ctx context.Context) (orchestrator.Container, error) {
	var none orchestrator.Container
	found, err := e.inspect(ctx, e.spec.Name)
	if errdefs.IsNotFound(err) { // an engine reserves the name before it lists the container, and for a while afterwards
		return none, againError{errors.New("the name is taken by a container that is being made or removed")}
	}
	if err != nil {
		return none, err
	}
	labels := found.Config.Labels
	if !e.owns(labels, kindContainer) || labels[labelKey] != e.spec.Key.String() {
		return none, fmt.Errorf("%w: it is container %.12s. Remove or rename it, or choose another Config.Name", orchestrator.ErrNameTaken, found.ID)
	}
	ours := labels[labelPoolUID] == e.at.PoolUID
	switch found.State.Status {
	case container.StateRunning:
		if !ours {
			return none, e.takeOver(ctx, found)
		}
		if reason := e.unfit(found); reason != "" {
			e.log.Warn("replacing a container", "container", e.spec.Name, "reason", reason)
			return none, e.replace(ctx, found.ID)
		}
		return e.adopt(ctx, found)
	case container.StateCreated:
		if e.within(startGrace, found.ID) {
			return none, againError{errors.New("another process is starting a container of this name")}
		}
	case container.StateRemoving:
		return none, againError{errors.New("the engine is removing a container of this name")}
	}
	return none, e.replace(ctx, found.ID)
}

// adopt returns a running container of this pool if its agent answers. Otherwise it replaces the container.
func (e *ensuring) adopt(ctx context.Context, found container.InspectResponse) (orchestrator.Container, error) {
	inside, err := e.agents.reach(ctx, found.ID, false)
	switch {
	case err == nil:
		e.agents.attached.park(found.ID, inside)
		return containerOf(found), nil
	case ctx.Err() != nil:
		return orchestrator.Container{}, context.Cause(ctx)
	case errors.Is(err, agent.ErrGone) && !errors.Is(err, errGhost):
		return orchestrator.Container{}, againError{err}
	}
	e.log.Warn("replacing a container whose agent does not answer", "container", e.spec.Name, "error", err)
	return orchestrator.Container{}, e.replace(ctx, found.ID)
}

// takeOver replaces a running container of another pool with this pool's name, after it has made sure that no process uses
// the container.
func (e *ensuring) takeOver(ctx context.Context, found container.InspectResponse) error {
	used, err := e.agents.inUse(ctx, found.ID)
	switch {
	case errors.Is(err, agent.ErrGone):
		return againError{err}
	case err != nil:
		return err
	case used:
		return errOtherPool(e.at.Pool)
	}
	e.log.Warn("replacing a container, with all that is in it, that another store of this pool's name has left and that no "+
		"process uses", "container", e.spec.Name)
	return e.replace(ctx, found.ID)
}

// within reports whether a container is still in its grace time. That begins with the first call for the container.
func (e *ensuring) within(grace time.Duration, id string) bool {
	since, ok := e.waiting[id]
	if !ok {
		since = time.Now()
		e.waiting[id] = since
	}
	return time.Since(since) < grace
}

// replace removes a container and calls for another attempt.
func (e *ensuring) replace(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := unbroken(ctx, e.opts.StartTimeout)
	defer cancel()
	if err := e.remover.removeContainer(ctx, id, workVolume(e.spec.Name)); err != nil {
		return fmt.Errorf("removing an earlier container of this name: %w", err)
	}
	return againError{errors.New("an earlier container had its name")}
}

// inUse reports whether a living process uses a container, which means that the process is connected to its agent. For a
// moment after a start, and while a connection is made again, a process that uses the container is not connected. So the
// container is unused only if no process was connected for claimGrace. A container whose agent does not answer is not in
// use.
func (a *agents) inUse(ctx context.Context, id string) (bool, error) {
	inside, err := a.reach(ctx, id, true)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, agent.ErrGone) && !errors.Is(err, errGhost) {
			return false, err
		}
		a.log.Warn("a container's agent does not answer", "id", id, "error", err)
		return false, nil
	}
	defer inside.Client.Close()
	for {
		state, err := inside.State(ctx)
		if err != nil || state.Managers > 0 {
			return err == nil, err
		}
		wait := claimGrace - state.Idle
		if wait <= 0 {
			return false, nil
		}
		if err := loop.Sleep(ctx, wait); err != nil {
			return false, err
		}
	}
}

func errOtherPool(pool string) error {
	return fmt.Errorf("%w: another process runs a pool named %q on this engine. Choose another Config.Name, or share that pool's store", orchestrator.ErrInUse, pool)
}
