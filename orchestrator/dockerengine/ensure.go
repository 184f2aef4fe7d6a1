package dockerengine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

const (
	// settleTimeout bounds how long Ensure waits for others who make, start or remove a container of the same name.
	settleTimeout = 45 * time.Second
	minPause      = 20 * time.Millisecond
	maxPause      = 500 * time.Millisecond
)

// againError says that the state of the engine has changed under an attempt, and that another one may succeed.
type againError struct{ error }

func (e againError) Unwrap() error { return e.error }

// ensuring is one Ensure, through as many attempts as it takes.
type ensuring struct {
	*host
	spec      orchestrator.ContainerSpec
	say       func(string)
	attempt   string               // labels all that it makes
	waiting   map[string]time.Time // containers that are given time, by ID, and since when
	restarted bool                 // a start has failed already
}

// Ensure implements [orchestrator.Host].
func (h *host) Ensure(ctx context.Context, spec orchestrator.ContainerSpec, progress func(string)) (orchestrator.Container, error) {
	made, err := h.containers.do(ctx, spec.Name, progress,
		func(ctx context.Context, say func(string)) (orchestrator.Container, error) {
			e := &ensuring{host: h, spec: spec, say: say, attempt: rand.Text(), waiting: map[string]time.Time{}}
			return e.run(ctx)
		},
		h.undo)
	if err != nil {
		return orchestrator.Container{}, fmt.Errorf("container %s: %w", spec.Name, err)
	}
	return made, nil
}

// undo removes a container that was made for nobody.
func (h *host) undo(made orchestrator.Container) {
	if !made.Adopted {
		h.sweepContainer(context.Background(), made.ID)
	}
}

// run makes attempts until one succeeds, or fails for a reason of its own.
func (e *ensuring) run(ctx context.Context) (orchestrator.Container, error) {
	deadline := time.Now().Add(settleTimeout)
	for wait := minPause; ; wait = min(2*wait, maxPause) {
		made, err := e.once(ctx)
		again := againError{}
		if err == nil || !errors.As(err, &again) {
			return made, err
		}
		if time.Now().After(deadline) {
			return made, fmt.Errorf("its state did not settle in %v: %w", settleTimeout, again.error)
		}
		if err := pause(ctx, wait); err != nil {
			return made, err
		}
	}
}

// once makes one attempt. When it fails, nothing that it made is left.
func (e *ensuring) once(ctx context.Context) (_ orchestrator.Container, err error) {
	network, err := e.ensureNetwork(ctx)
	if err != nil {
		return orchestrator.Container{}, err
	}
	id, image, err := e.create(ctx, network)
	if errdefs.IsConflict(err) {
		return e.resolve(ctx)
	}
	if err == nil {
		err = e.bringUp(ctx, id, image)
	}
	if err != nil {
		e.sweep(ctx, e.attempt)
		return orchestrator.Container{}, err
	}
	return orchestrator.Container{
		Name:    e.spec.Name,
		ID:      id,
		Key:     e.spec.Key,
		PoolUID: e.at.PoolUID,
		Running: true,
		Created: time.Now(),
	}, nil
}

// create makes the container from the first image that the engine has, pulling the last if it has none. The engine
// makes the volumes along with it.
func (e *ensuring) create(ctx context.Context, network string) (id, image string, err error) {
	images := candidates(e.spec.Image)
	for _, image := range images {
		id, err := e.createFrom(ctx, image, network)
		if !errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err) {
			return id, image, err
		}
		has, hasErr := e.hasImage(ctx, image)
		if hasErr != nil {
			return "", "", errors.Join(err, hasErr)
		}
		if has { // and had not a moment ago, or refuses for another reason
			id, err := e.createFrom(ctx, image, network)
			return id, image, err
		}
	}
	if err := e.pull(ctx, images, e.say); err != nil {
		return "", "", err
	}
	image = images[len(images)-1]
	id, err = e.createFrom(ctx, image, network)
	return id, image, err
}

func (e *ensuring) createFrom(ctx context.Context, image, network string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", context.Cause(ctx)
	}
	ctx, cancel := unbroken(ctx, e.opts.CallTimeout)
	defer cancel()
	made, err := e.docker.ContainerCreate(ctx, e.config(e.spec, image, network, e.attempt))
	for _, warning := range made.Warnings {
		e.log.Warn("the engine warns of a container", "container", e.spec.Name, "warning", warning)
	}
	return made.ID, err
}

// bringUp starts the container that was made and returns when its agent answers.
func (e *ensuring) bringUp(ctx context.Context, id, image string) error {
	if err := e.checkVolumes(ctx, id); err != nil {
		return err
	}
	if err := e.ensureProgram(ctx, image); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := e.start(ctx, id); err != nil {
		return err
	}
	inside, err := e.reach(ctx, id, false)
	if errors.Is(err, agent.ErrGone) {
		return e.explainDeath(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("its agent does not answer: %w", err)
	}
	e.attached.park(id, inside)
	return nil
}

func (e *ensuring) start(ctx context.Context, id string) error {
	ctx, cancel := unbroken(ctx, e.opts.StartTimeout)
	defer cancel()
	_, err := e.docker.ContainerStart(ctx, id, client.ContainerStartOptions{})
	if err == nil {
		return nil
	}
	if _, inspectErr := e.docker.ContainerInspect(ctx, id, client.ContainerInspectOptions{}); errdefs.IsNotFound(inspectErr) {
		return againError{fmt.Errorf("it was removed from outside while it started: %w", err)}
	}
	// The network or the agent's volume may have been removed from outside since this host last saw them.
	e.forgetShared()
	if !e.restarted {
		e.restarted = true
		return againError{err}
	}
	return err
}

// checkVolumes looks at the volumes that the engine made with the container, or found there.
func (e *ensuring) checkVolumes(ctx context.Context, id string) error {
	key := e.spec.Key.String()
	mirror, err := e.ownVolume(ctx, e.spec.Name, kindMirror)
	if err != nil {
		return err
	}
	if got := mirror[labelKey]; got != key {
		return fmt.Errorf("%w: volume %s holds the mirror of %s", orchestrator.ErrNameTaken, e.spec.Name, got)
	}
	work, err := e.ownVolume(ctx, workVolume(e.spec.Name), kindWork)
	if err != nil {
		return err
	}
	if work[labelAttempt] == e.attempt {
		return nil
	}
	// An earlier container left its checkouts. No session of this one may find them.
	ctx, cancel := unbroken(ctx, e.opts.StartTimeout)
	defer cancel()
	if err := e.removeContainer(ctx, id, workVolume(e.spec.Name)); err != nil {
		return err
	}
	return againError{errors.New("it had the work volume of an earlier container")}
}

// ownVolume returns the labels of a volume of the pool. ErrNameTaken: it is not the pool's.
func (h *host) ownVolume(ctx context.Context, name, kind string) (map[string]string, error) {
	ctx, cancel := h.bound(ctx)
	defer cancel()
	found, err := h.docker.VolumeInspect(ctx, name, client.VolumeInspectOptions{})
	if err != nil {
		return nil, err
	}
	if !h.owns(found.Volume.Labels, kind) {
		return nil, fmt.Errorf("%w: volume %s is not this pool's. Remove it, or choose another Config.Name", orchestrator.ErrNameTaken, name)
	}
	return found.Volume.Labels, nil
}
