package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// Attach implements [orchestrator.Host].
func (h *host) Attach(ctx context.Context, name string) (orchestrator.Inside, error) {
	in, err := h.attach(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("attaching to container %s: %w", name, err)
	}
	return in, nil
}

func (h *host) attach(ctx context.Context, name string) (*inside, error) {
	found, err := h.inspect(ctx, name)
	if errdefs.IsNotFound(err) {
		return nil, agent.ErrGone
	}
	if err != nil {
		return nil, err
	}
	labels := found.Config.Labels
	if !h.owns(labels, kindContainer) || labels[labelPoolUID] != h.at.PoolUID || !found.State.Running {
		return nil, agent.ErrGone // or another's, which is the same to us
	}
	if in := h.attached.take(found.ID); in != nil {
		return in, nil
	}
	in, err := h.reach(ctx, found.ID, false)
	if err != nil {
		return nil, err
	}
	if err := h.attached.add(in); err != nil {
		return nil, err
	}
	return in, nil
}

// reach connects to the agent of a container, by the container's ID: its name may pass on to another while the
// connection is made again. An observer does not count as one who works with the container.
func (h *host) reach(ctx context.Context, id string, observe bool) (*inside, error) {
	ctx, cancel := context.WithTimeout(ctx, h.opts.StartTimeout)
	defer cancel()
	var ghost ghosts
	dial := func(ctx context.Context) (net.Conn, error) { return h.join(ctx, id, &ghost) } // one after the other
	in := &inside{
		Client: agent.NewClient(dial, agent.ClientOptions{Manager: h.manager, Observe: observe, Logger: h.log.With("id", id)}),
		id:     id,
		of:     &h.attached,
	}
	if _, err := in.State(ctx); err != nil { // the client connects in its own time; an answer says that it has
		in.Client.Close()
		return nil, err
	}
	return in, nil
}

// join starts the program in the container that passes its standard input and output on to the agent. agent.ErrGone:
// the container does not run.
func (h *host) join(ctx context.Context, id string, ghost *ghosts) (net.Conn, error) {
	ctx, cancel := h.bound(ctx)
	defer cancel()
	conn, err := h.exec(ctx, id, agent.JoinCommand()...)
	if err == nil {
		return conn, nil
	}
	// A refusal may mean many things; only the container's own state says that it is final.
	found, inspectErr := h.inspect(ctx, id)
	switch {
	case errdefs.IsNotFound(inspectErr):
		return nil, agent.ErrGone
	case inspectErr != nil:
		return nil, errors.Join(err, inspectErr)
	case !found.State.Running:
		return nil, fmt.Errorf("%w: it is %s", agent.ErrGone, found.State.Status)
	case !found.State.Paused && ghost.seen(ctx, h, id):
		return nil, errGhost
	}
	return nil, err
}

func (h *host) exec(ctx context.Context, id string, args ...string) (net.Conn, error) {
	made, err := h.docker.ExecCreate(ctx, id, client.ExecCreateOptions{
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
	attached, err := h.docker.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
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
}

var _ orchestrator.Inside = (*inside)(nil)

// Start implements [orchestrator.Inside].
func (in *inside) Start(ctx context.Context, c agent.Command) (orchestrator.Process, error) {
	p, err := in.Client.Start(ctx, c)
	if err != nil {
		return nil, err // not p, which would make an interface that is not nil
	}
	return p, nil
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
	parked map[string]*inside // made by Ensure to see that the agent answers, kept for the first Attach; by container ID
	closed bool
}

// add takes note of a connection. It is closed if the host is closed already.
func (a *attachments) add(in *inside) error {
	if a.note(in, false) {
		return nil
	}
	in.Client.Close()
	return errHostClosed
}

// park keeps a connection for the first who attaches: making one costs an exec, and they are slow.
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

// take returns the parked connection to a container, if there is one that still works.
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
