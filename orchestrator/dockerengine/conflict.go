package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

const (
	// startGrace is what a container that was made, but does not run yet, is given to start: its maker may be at it.
	startGrace = 5 * time.Second
	// claimGrace is what the maker of a running container is given to connect to it, or to connect again.
	claimGrace = 2 * time.Second
)

// resolve is about the container that holds the name already: it is adopted, or removed to make room, or neither.
func (e *ensuring) resolve(ctx context.Context) (orchestrator.Container, error) {
	var none orchestrator.Container
	found, err := e.inspect(ctx, e.spec.Name)
	if errdefs.IsNotFound(err) { // the name is reserved before the container shows, and after it went
		return none, againError{errors.New("the name is taken by a container that comes or goes")}
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
		return e.adopt(ctx, found)
	case container.StateCreated:
		if e.within(startGrace, found.ID) {
			return none, againError{errors.New("somebody is starting a container of this name")}
		}
	case container.StateRemoving:
		return none, againError{errors.New("the engine is removing a container of this name")}
	}
	return none, e.replace(ctx, found.ID)
}

// adopt returns a running container of our own, if its agent answers.
func (e *ensuring) adopt(ctx context.Context, found container.InspectResponse) (orchestrator.Container, error) {
	inside, err := e.reach(ctx, found.ID, false)
	switch {
	case err == nil:
		e.attached.park(found.ID, inside)
		return containerOf(found), nil
	case ctx.Err() != nil:
		return orchestrator.Container{}, context.Cause(ctx)
	case errors.Is(err, agent.ErrGone) && !errors.Is(err, errGhost):
		return orchestrator.Container{}, againError{err}
	}
	e.log.Warn("replacing a container whose agent does not answer", "container", e.spec.Name, "error", err)
	return orchestrator.Container{}, e.replace(ctx, found.ID)
}

// takeOver replaces a running container of a pool that only has our name, once it is sure that nobody works with it.
func (e *ensuring) takeOver(ctx context.Context, found container.InspectResponse) error {
	used, err := e.inUse(ctx, found.ID)
	switch {
	case errors.Is(err, agent.ErrGone):
		return againError{err}
	case err != nil:
		return err
	case used:
		return errOtherPool(e.at.Pool)
	}
	e.log.Warn("replacing a container that another store of this pool's name has left, and that no process uses: what was in it "+
		"is lost", "container", e.spec.Name)
	return e.replace(ctx, found.ID)
}

// within reports whether a container is still within its grace, which begins when it is first asked about.
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
	if err := e.removeContainer(ctx, id, workVolume(e.spec.Name)); err != nil {
		return fmt.Errorf("removing what was left of it: %w", err)
	}
	return againError{errors.New("a leftover had its name")}
}

// inUse reports whether a living process works with a container: one that is connected to its agent. Nobody is, too,
// for a moment after a start and while a connection is made again, so absence counts only when it lasts. An agent that
// does not answer serves nobody.
func (h *host) inUse(ctx context.Context, id string) (bool, error) {
	inside, err := h.reach(ctx, id, true)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, agent.ErrGone) && !errors.Is(err, errGhost) {
			return false, err
		}
		h.log.Warn("a container's agent does not answer", "id", id, "error", err)
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
		if err := pause(ctx, wait); err != nil {
			return false, err
		}
	}
}

func errOtherPool(pool string) error {
	return fmt.Errorf("%w: another process runs a pool of the name %q on this engine. Choose another Config.Name, or share its store", orchestrator.ErrInUse, pool)
}

func (h *host) inspect(ctx context.Context, container string) (container.InspectResponse, error) {
	ctx, cancel := h.bound(ctx)
	defer cancel()
	found, err := h.docker.ContainerInspect(ctx, container, client.ContainerInspectOptions{})
	return found.Container, err
}
