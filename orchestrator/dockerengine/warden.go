package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

const (
	// wardenAnswer bounds the answer of a warden, which tries a room for it. That takes some 20 ms.
	wardenAnswer = 15 * time.Second
	// wardenAgain is how long a refusal counts. After that, the next start tries again: somebody may have changed the engine.
	wardenAgain = 10 * time.Minute
	// wardenSoon is wardenAgain if the engine or the warden only took too long.
	wardenSoon = time.Minute
)

// warden is the pool's privileged container on the engine, which opens a room for each session in the pool's other
// containers, and the volume of its socket, which these have. Both have the same name, which holds the version of the agent's
// program: containers keep the warden that they were made with, and two versions run side by side while there are
// containers of both. List says when no container needs a version any more.
//
// An engine may refuse the warden. Containers that are started there have no rooms.
type warden struct {
	*daemon
	name      string
	installer *installer
	agents    *agents
	resources *resources
	making    flights[orchestrator.Isolation] // one key
	early     *early

	mu    sync.Mutex             // protects the fields below
	found orchestrator.Isolation // zero = not known
	until time.Time              // when it does not count any more; zero = it counts until forget
}

func newWarden(i *installer, a *agents, e *early) *warden {
	name := "berth-warden-" + short(i.at.Pool) + "-" + i.version
	return &warden{daemon: i.daemon, name: name, installer: i, agents: a, resources: i.resources, early: e}
}

// ensure makes the warden run, from an image that the engine has, and returns what it can do. An error means that the
// engine cannot be asked now. A refusal is no error.
func (w *warden) ensure(ctx context.Context, image string) (orchestrator.Isolation, error) {
	if found, ok := w.known(); ok {
		return found, nil
	}
	return w.making.do(ctx, "", nil, w.maker(image), nil)
}

// maker returns the task that makes the warden run.
func (w *warden) maker(image string) task[orchestrator.Isolation] {
	return func(ctx context.Context, _ func(string)) (orchestrator.Isolation, error) {
		err := w.installer.ensure(ctx, image)
		if err != nil {
			return orchestrator.Isolation{}, err
		}
		found, err := (&settling{warden: w, image: image}).run(ctx)
		if err != nil {
			err = w.explainLost(ctx, err)
		}
		again := wardenAgain
		if errors.Is(err, context.DeadlineExceeded) {
			again = wardenSoon
		}
		switch {
		case err == nil:
		case ctx.Err() != nil, errors.Is(err, orchestrator.ErrUnreachable), client.IsErrConnectionFailed(err):
			return orchestrator.Isolation{}, fmt.Errorf("the warden: %w", err)
		default:
			if err := w.resources.removeVolume(ctx, w.name, kindWarden); err != nil && !errors.Is(err, orchestrator.ErrInUse) {
				w.log.Warn("cannot remove the volume of a warden that does not run", "error", err)
			}
			found = roomless(fmt.Sprintf("the warden does not run on this engine: %v", err))
		}
		w.note(found, again)
		return found, nil
	}
}

// tend makes the warden again, in the background, if it was removed from outside while containers need it: no session can be
// opened in them without. running are the pool's running containers of any kind.
func (w *warden) tend(running []container.Summary) {
	if w.missedBy(running) == "" || w.refused() {
		return
	}
	w.early.start(func(ctx context.Context) {
		running, err := w.listContainers(ctx, false, w.filter("")) // again: a Purge may have removed all of them meanwhile
		if err != nil {
			return // the next probe tries again
		}
		image := w.missedBy(running)
		if image == "" {
			return
		}
		if _, believed := w.known(); believed {
			w.log.Warn("containers need a warden that does not run: making it again")
			w.forget()
		}
		_, _ = w.ensure(ctx, image) // a failure shows at the next start
	})
}

// missedBy returns the image of a container that needs the warden, while the warden does not run. "" = there is none.
func (w *warden) missedBy(running []container.Summary) (image string) {
	for _, c := range running {
		switch kind := c.Labels[labelKind]; {
		case kind == kindWarden && nameOf(c.Names) == w.name:
			return ""
		case kind == kindContainer && c.Labels[labelRooms] == string(store.IsolationRooms) && c.Labels[labelAgent] == w.installer.version:
			image = c.Image
		}
	}
	return image
}

func roomless(reason string) orchestrator.Isolation {
	return orchestrator.Isolation{Level: store.IsolationUID, Reason: reason, CheckoutReason: orchestrator.NoRooms}
}

// known returns what was found, if that still counts.
func (w *warden) known() (found orchestrator.Isolation, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.found, w.found.Level != "" && (w.until.IsZero() || time.Now().Before(w.until))
}

// refused reports whether containers are made without the warden now.
func (w *warden) refused() bool {
	found, known := w.known()
	return known && found.Level != store.IsolationRooms
}

// note records what was found. That there are no rooms counts for a while only.
func (w *warden) note(found orchestrator.Isolation, again time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found, w.until = found, time.Time{}
	if found.Level != store.IsolationRooms {
		w.until = time.Now().Add(again)
	}
}

// forget makes the next start look for the warden again, because it may have been removed.
func (w *warden) forget() { w.note(orchestrator.Isolation{}, 0) }

// settling is one way to a warden that answers, with all its attempts.
type settling struct {
	*warden
	image    string
	since    time.Time // when one was first seen that was made and not started; zero = none was
	replaced bool      // one that did not answer was removed
}

// run makes attempts until one succeeds, or fails for a reason of its own.
func (s *settling) run(ctx context.Context) (found orchestrator.Isolation, err error) {
	err = settle(ctx, func() (err error) {
		found, err = s.once(ctx)
		return err
	})
	return found, err
}

// once makes the warden, or uses the one that is there. If that one does not answer, it is replaced, but only once.
func (s *settling) once(ctx context.Context) (found orchestrator.Isolation, err error) {
	there, err := s.inspect(ctx, s.name)
	if errdefs.IsNotFound(err) {
		return s.create(ctx, s.image)
	}
	if err != nil {
		return found, err
	}
	if !s.owns(there.Config.Labels, kindWarden) {
		return found, fmt.Errorf("%w: the warden needs the name %s, which container %.12s has", orchestrator.ErrNameTaken, s.name, there.ID)
	}
	switch there.State.Status {
	case container.StateRemoving:
		return found, againError{errors.New("the engine is removing an earlier one")}
	case container.StateCreated:
		if s.since.IsZero() {
			s.since = time.Now()
		}
		if time.Since(s.since) < startGrace {
			return found, againError{errors.New("another process is starting it")}
		}
	case container.StateRunning, container.StateRestarting:
		found, err := s.ask(ctx, there.ID)
		if err == nil {
			return found, s.keep(ctx, there.ID)
		}
		if s.replaced || ctx.Err() != nil {
			return found, err
		}
		s.log.Warn("replacing a warden that does not answer", "error", err)
	}
	s.replaced = true
	if err := s.remove(ctx, there.ID); err != nil {
		return found, err
	}
	return found, againError{errors.New("an earlier one had its name")}
}

// create makes and starts the warden, and removes it again if it does not answer.
func (w *warden) create(ctx context.Context, image string) (found orchestrator.Isolation, err error) {
	if _, err := w.ownVolume(ctx, w.name, kindWarden); err != nil && !errdefs.IsNotFound(err) {
		return found, err
	}
	making, cancel := unbroken(ctx, w.opts.StartTimeout)
	defer cancel()
	made, err := w.docker.ContainerCreate(making, w.config(image))
	if errdefs.IsConflict(err) {
		return found, againError{errors.New("another process is making it")}
	}
	if err == nil {
		err = needs(made.ID != "", "the making of container "+w.name, "Id")
	}
	if err != nil {
		return found, err
	}
	if _, err = w.docker.ContainerStart(making, made.ID, client.ContainerStartOptions{}); err == nil {
		found, err = w.ask(ctx, made.ID)
	}
	if err == nil {
		err = w.keep(ctx, made.ID)
	}
	if err == nil {
		return found, nil
	}
	if words := w.lastWords(ctx, made.ID); words != "" {
		err = fmt.Errorf("%w; its last words were: %s", err, words)
	}
	return found, errors.Join(err, w.remove(ctx, made.ID))
}

// ask returns what the warden's rooms do. It runs a program in the warden's container that tries one.
func (w *warden) ask(ctx context.Context, id string) (orchestrator.Isolation, error) {
	ctx, cancel := context.WithTimeout(ctx, wardenAnswer)
	defer cancel()
	conn, err := w.agents.exec(ctx, id, agent.IsolationCommand()...)
	if err != nil {
		return orchestrator.Isolation{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	said, err := agent.ReadIsolation(conn)
	if ctx.Err() != nil {
		err = fmt.Errorf("it does not answer: %w", context.Cause(ctx))
	}
	if err != nil {
		return orchestrator.Isolation{}, err
	}
	return isolationOf(said), nil
}

// isolationOf puts an agent's answer in the orchestrator's words.
func isolationOf(said agent.Isolation) orchestrator.Isolation {
	if !said.Rooms {
		return roomless("the warden cannot open rooms: " + said.Reason)
	}
	if !said.Network {
		return roomless("the warden cannot put up the walls of a network: " + said.Reason)
	}
	var unbound []string
	for what, bound := range map[string]bool{"memory": said.Memory, "processor time": said.CPU, "processes": said.PIDs} {
		if !bound {
			unbound = append(unbound, what)
		}
	}
	found := orchestrator.Isolation{Level: store.IsolationRooms, DiskQuota: said.DiskQuota}
	if len(unbound) > 0 {
		slices.Sort(unbound)
		found.Reason = fmt.Sprintf("the kernel's cgroups do not bound these of a session: %v", unbound)
	}
	return found
}

// keep makes the engine start the warden again if it ends. It is called once the warden has answered: one that cannot run
// must not be started for ever.
func (w *warden) keep(ctx context.Context, id string) error {
	ctx, cancel := w.bound(ctx)
	defer cancel()
	_, err := w.docker.ContainerUpdate(ctx, id, client.ContainerUpdateOptions{
		RestartPolicy: &container.RestartPolicy{Name: container.RestartPolicyAlways},
	})
	return err
}

func (w *warden) remove(ctx context.Context, id string) error {
	ctx, cancel := unbroken(ctx, w.opts.StartTimeout)
	defer cancel()
	return w.discard(ctx, id)
}
