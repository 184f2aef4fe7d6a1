package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// agents connects to the agents of the pool's containers. It owns the connections.
type agents struct {
	*daemon
	manager  string // names this host among the users of a container
	attached attachments
}

// Attach implements [orchestrator.Host].
func (a *agents) Attach(ctx context.Context, name string) (orchestrator.Inside, error) {
	in, err := a.attach(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("attaching to container %s: %w", name, a.explainLost(ctx, err))
	}
	return in, nil
}

func (a *agents) attach(ctx context.Context, name string) (*inside, error) {
	found, err := a.inspect(ctx, name)
	if errdefs.IsNotFound(err) {
		return nil, agent.ErrGone
	}
	if err != nil {
		return nil, err
	}
	labels := found.Config.Labels
	if !a.owns(labels, kindContainer) || labels[labelPoolUID] != a.at.PoolUID {
		return nil, agent.ErrGone // another's container: ours of that name is gone
	}
	if !found.State.Running {
		return nil, gone(found.State)
	}
	if in := a.attached.take(found.ID); in != nil {
		in.image = found.Image
		return in, nil
	}
	in, err := a.reach(ctx, found.ID, false)
	if err != nil {
		return nil, err
	}
	in.image = found.Image
	if err := a.attached.add(in); err != nil {
		return nil, err
	}
	return in, nil
}

// reach connects to the agent of a container. It takes the container's ID, because the name may pass to another container
// while the connection is made again. With observe, the agent does not count this connection as a use of the container.
func (a *agents) reach(ctx context.Context, id string, observe bool) (*inside, error) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.StartTimeout)
	defer cancel()
	var ghost ghosts
	dial := func(ctx context.Context) (net.Conn, error) { return a.join(ctx, id, &ghost) } // one call at a time
	in := &inside{
		Client: agent.NewClient(dial, agent.ClientOptions{Manager: a.manager, Observe: observe, Logger: a.log.With("id", id)}),
		id:     id,
		of:     &a.attached,
	}
	if _, err := in.State(ctx); err != nil { // the client connects later; an answer shows that it has
		in.Client.Close()
		return nil, err
	}
	return in, nil
}

// join starts the program in the container that passes its standard input to the agent and the agent's answers to its
// standard output. agent.ErrGone: the container does not run.
func (a *agents) join(ctx context.Context, id string, ghost *ghosts) (net.Conn, error) {
	ctx, cancel := a.bound(ctx)
	defer cancel()
	conn, err := a.exec(ctx, id, agent.JoinCommand()...)
	if err == nil {
		return conn, nil
	}
	// A refusal has many reasons. Only the container's own state shows whether it is final.
	found, inspectErr := a.inspect(ctx, id)
	switch {
	case errdefs.IsNotFound(inspectErr):
		return nil, agent.ErrGone
	case inspectErr != nil:
		return nil, errors.Join(err, inspectErr)
	case !found.State.Running:
		return nil, gone(found.State)
	case !found.State.Paused && ghost.seen(ctx, a.daemon, id):
		return nil, errGhost
	}
	return nil, err
}

// gone returns the error for a container that does not run. Its engine says whether a process in it was ever killed for
// lack of memory. With cgroups of version 2, that may have been a session's, in a room. The engine does not say whether it ended the
// container, but a container that memory has ended was killed.
func gone(state *container.State) error {
	const killed = 128 + 9
	err := fmt.Errorf("%w: it is %s", agent.ErrGone, state.Status)
	if state.OOMKilled && state.ExitCode == killed {
		return fmt.Errorf("%w: %w", err, agent.ErrOutOfMemory)
	}
	return err
}

// exec runs a command in a container as root, and returns the connection to its standard input and output.
func (a *agents) exec(ctx context.Context, id string, args ...string) (net.Conn, error) {
	made, err := a.docker.ExecCreate(ctx, id, client.ExecCreateOptions{
		User:         "0:0",
		WorkingDir:   "/",
		Cmd:          args,
		AttachStdin:  true,
		AttachStdout: true,
		AttachStderr: true,
	})
	if err != nil {
		return nil, err
	}
	if err := needs(made.ID != "", "the making of a program in container "+id, "Id"); err != nil {
		return nil, err
	}
	attached, err := a.docker.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return nil, err
	}
	return &stream{Conn: attached.Conn, in: attached.Reader}, nil
}

// inside is the agent of one container.
type inside struct {
	*agent.Client
	id string // of the container
	of *attachments

	image string // the ID of the container's image, which is its digest; set by attach
}

var _ orchestrator.Inside = (*inside)(nil)

// Start implements [orchestrator.Inside].
func (in *inside) Start(ctx context.Context, c agent.Command) (orchestrator.Process, error) {
	p, err := in.Client.Start(ctx, c)
	if err != nil {
		return nil, err // not p: a nil *agent.Process in an interface is not nil
	}
	return p, nil
}

// Open implements [orchestrator.Inside].
func (in *inside) Open(ctx context.Context, s agent.Session) (agent.Checkout, error) {
	s.Image = in.image
	return in.Client.Open(ctx, s)
}

// Prepare implements [orchestrator.Inside].
func (in *inside) Prepare(ctx context.Context, p agent.Preparation, progress func(agent.Progress)) (agent.Prepared, error) {
	p.Image = in.image
	return in.Client.Prepare(ctx, p, progress)
}

// Layer implements [orchestrator.Inside].
func (in *inside) Layer(ctx context.Context, key, commit string, w io.Writer) error {
	return agent.ReadLayer(ctx, in.Client, key, commit, w)
}

// PutLayer implements [orchestrator.Inside].
func (in *inside) PutLayer(ctx context.Context, o agent.Offer, r io.Reader) (agent.Prepared, error) {
	return agent.WriteLayer(ctx, in.Client, o, r)
}

// AttachCommand implements [orchestrator.Inside].
func (in *inside) AttachCommand(ctx context.Context, a agent.Attach) (orchestrator.Process, agent.Attached, error) {
	p, at, err := in.Client.Attach(ctx, a)
	if err != nil {
		return nil, at, err // as in Start
	}
	return p, at, nil
}

// Close implements [orchestrator.Inside].
func (in *inside) Close() error {
	in.of.remove(in)
	return in.Client.Close()
}

// attachments are the connections to agents that a host has open. The zero value is ready for use.
type attachments struct {
	mu     sync.Mutex // protects the fields below
	open   map[*inside]struct{}
	parked map[string]*inside // those that Ensure made to check the agent, kept for the first Attach; by container ID
	closed bool
}

// add records a connection. If the host is closed already, it closes the connection.
func (a *attachments) add(in *inside) error {
	if a.note(in, false) {
		return nil
	}
	in.Client.Close()
	return errHostClosed
}

// park keeps a connection for the first Attach, because making one takes an exec, which is slow.
func (a *attachments) park(id string, in *inside) {
	if !a.note(in, true) {
		in.Client.Close()
	}
}

func (a *attachments) note(in *inside, park bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || park && a.parked[in.id] != nil {
		return false
	}
	if a.open == nil {
		a.open, a.parked = map[*inside]struct{}{}, map[string]*inside{}
	}
	a.open[in] = struct{}{}
	if park {
		a.parked[in.id] = in
	}
	return true
}

// take returns the parked connection to a container, or nil if there is none that works.
func (a *attachments) take(id string) *inside {
	a.mu.Lock()
	in := a.parked[id]
	delete(a.parked, id)
	a.mu.Unlock()
	if in == nil {
		return nil
	}
	select {
	case <-in.Done():
		in.Close()
		return nil
	default:
		return in
	}
}

// drop closes the parked connection to a container that is to be removed.
func (a *attachments) drop(id string) {
	if in := a.take(id); in != nil {
		in.Close()
	}
}

func (a *attachments) remove(in *inside) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, in)
	if a.parked[in.id] == in {
		delete(a.parked, in.id)
	}
}

// close closes every connection.
func (a *attachments) close() {
	a.mu.Lock()
	open := a.open
	a.open, a.parked, a.closed = nil, nil, true
	a.mu.Unlock()
	for in := range open {
		in.Client.Close()
	}
}
