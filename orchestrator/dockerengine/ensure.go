package dockerengine

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/orchestrator"
)

// settleTimeout bounds how long Ensure waits for other processes that make, start or remove a container of the same name.
const settleTimeout = 45 * time.Second

// settlePauses are those between two looks at an engine whose state is about to change.
var settlePauses = loop.Pauses{First: 20 * time.Millisecond, Longest: 500 * time.Millisecond}

// againError says that the state of the engine changed during an attempt, and that another attempt may succeed.
type againError struct{ error }

func (e againError) Unwrap() error { return e.error }

// ensuring is one call of Ensure, with all its attempts.
type ensuring struct {
	*host
	spec      orchestrator.ContainerSpec
	say       func(string)
	attempt   string               // a label of everything that it makes
	waiting   map[string]time.Time // when containers were first given time, by ID
	restarted bool                 // an attempt has failed already for lack of the network or the agent's volume

	isolation orchestrator.Isolation // of a container that is made now
	roomless  bool                   // a container was made already whose agent got no rooms
	pullBegan time.Time              // of the image; zero = it was there
	pulled    time.Duration          // how long that took
}

// Ensure implements [orchestrator.Host].
func (h *host) Ensure(ctx context.Context, spec orchestrator.ContainerSpec, progress func(string)) (orchestrator.Container, error) {
	made, err := h.making.do(ctx, spec.Name, progress,
		func(ctx context.Context, say func(string)) (orchestrator.Container, error) {
			e := &ensuring{host: h, spec: spec, say: say, attempt: rand.Text(), waiting: map[string]time.Time{}}
			return e.run(ctx)
		},
		h.undo)
	if err != nil {
		return orchestrator.Container{}, fmt.Errorf("container %s: %w", spec.Name, h.explainLost(ctx, err))
	}
	return made, nil
}

// undo removes a container that was made after its last caller had given up.
func (h *host) undo(made orchestrator.Container) {
	if !made.Adopted {
		h.remover.sweepContainer(context.Background(), made.ID)
	}
}

// run makes attempts until one succeeds, or fails for a reason of its own.
func (e *ensuring) run(ctx context.Context) (made orchestrator.Container, err error) {
	err = settle(ctx, func() (err error) {
		made, err = e.once(ctx)
		return err
	})
	return made, err
}

// settle repeats attempts while their errors are againErrors, for settleTimeout at most.
func settle(ctx context.Context, once func() error) (err error) {
	deadline := time.Now().Add(settleTimeout)
	ended := loop.Retry(ctx, settlePauses, func() (done bool) {
		err = once()
		again, ok := errors.AsType[againError](err)
		if ok && time.Now().After(deadline) {
			err = fmt.Errorf("its state did not settle in %v: %w", settleTimeout, again.error)
			return true
		}
		return !ok
	})
	return cmp.Or(ended, err)
}

// once makes one attempt. If it fails, nothing of it is left.
func (e *ensuring) once(ctx context.Context) (_ orchestrator.Container, err error) {
	network, err := e.bridge.ensure(ctx)
	if err == nil {
		e.isolation, err = e.isolate(ctx)
	}
	if err != nil {
		return orchestrator.Container{}, err
	}
	id, image, err := e.create(ctx, network)
	if errdefs.IsConflict(err) {
		return e.resolve(ctx)
	}
	if err == nil {
		err = e.launch(ctx, id, image)
	}
	if err != nil {
		e.remover.sweep(ctx, e.attempt)
		return orchestrator.Container{}, err
	}
	return orchestrator.Container{
		Name:    e.spec.Name,
		ID:      id,
		Key:     e.spec.Key,
		PoolUID: e.at.PoolUID,
		Running: true,
		Created: time.Now(),

		PullBegan: e.pullBegan,
		Pulled:    e.pulled,
		Isolation: e.isolation,
	}, nil
}

// create makes the container from the first image that the engine has. If the engine has none, the last one is pulled.
// The engine makes the container's volumes too.
func (e *ensuring) create(ctx context.Context, network string) (id, image string, err error) {
	images := candidates(e.spec.Image)
	for _, image := range images {
		id, err := e.createFrom(ctx, image, network)
		if !errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err) {
			return id, image, err
		}
		has, hasErr := e.images.has(ctx, image)
		if hasErr != nil {
			return "", "", errors.Join(err, hasErr)
		}
		if has { // it came only now, or the engine refuses for another reason
			id, err := e.createFrom(ctx, image, network)
			if errdefs.IsNotFound(err) { // the network is missing: engines since Docker 25 say so here, others at the start
				err = e.again(err)
			}
			return id, image, err
		}
	}
	e.pullBegan = time.Now()
	if err := e.images.pull(ctx, images, e.say); err != nil {
		return "", "", err
	}
	e.pulled = time.Since(e.pullBegan)
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
	made, err := e.docker.ContainerCreate(ctx, e.config(image, network))
	for _, warning := range made.Warnings {
		e.log.Warn("the engine gave a warning about a container", "container", e.spec.Name, "warning", warning)
	}
	if err == nil {
		err = needs(made.ID != "", "the making of container "+e.spec.Name, "Id")
	}
	return made.ID, err
}

// launch starts the container that was made, and returns when its agent answers.
func (e *ensuring) launch(ctx context.Context, id, image string) error {
	if err := e.checkVolumes(ctx, id); err != nil {
		return err
	}
	if err := e.checkDigest(ctx, id, image); err != nil {
		return err
	}
	if err := e.installer.ensure(ctx, image); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := e.start(ctx, id); err != nil {
		return err
	}
	inside, err := e.agents.reach(ctx, id, false)
	if errors.Is(err, agent.ErrGone) {
		return e.explainDeath(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("its agent does not answer: %w", err)
	}
	if err := e.checkRooms(ctx, inside); err != nil {
		inside.Close()
		return err
	}
	e.agents.attached.park(id, inside)
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
	return e.again(err)
}

// again asks for one more attempt, because the network or the agent's volume may have been removed from outside since this
// host last saw them. It does so once.
func (e *ensuring) again(err error) error {
	e.installer.forget()
	if e.restarted {
		return err
	}
	e.restarted = true
	return againError{err}
}

// checkVolumes checks the volumes that the engine made with the container, or found.
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
	// An earlier container left its checkouts. The sessions of this one must not find them.
	ctx, cancel := unbroken(ctx, e.opts.StartTimeout)
	defer cancel()
	if err := e.remover.removeContainer(ctx, id, workVolume(e.spec.Name)); err != nil {
		return err
	}
	return againError{errors.New("it had the work volume of an earlier container")}
}
