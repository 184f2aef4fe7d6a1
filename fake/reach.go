package fake

import (
	"context"
	"errors"

	"github.com/berth-go/berth/orchestrator"
)

var (
	errNoRoute = unreachable{errors.New("connect: no route to host")}
	errCutOff  = unreachable{errLost}
)

// unreachable makes an error also an orchestrator.ErrUnreachable.
type unreachable struct{ error }

func (e unreachable) Unwrap() error        { return e.error }
func (e unreachable) Is(target error) bool { return target == orchestrator.ErrUnreachable }

// left reports whether the machine has left an address. The caller holds mu.
func (n *node) left(address string) bool { return n.gone || n.moved != "" && n.moved != address }

// answers returns nil when the engine on the host answers at an address. It waits for an engine that hangs.
func (n *node) answers(ctx context.Context, r reply, address string) error {
	for n.troubled.Load() {
		n.mu.Lock()
		left, away, wrong, healed := n.left(address), n.away, n.wrong, n.healed
		n.mu.Unlock()
		switch {
		case left:
			if _, reused := n.engine.opts.Cloud.runs(address); reused {
				return orchestrator.ErrWrongHost
			}
			return errNoRoute
		case away:
			return errNoRoute
		case wrong:
			return orchestrator.ErrWrongHost
		case healed == nil:
			return nil
		}
		if err := r.wait(ctx, healed); err != nil {
			return err
		}
	}
	return nil
}

// reachable waits until the agents on the host can be reached at an address, like a client that connects again and
// again.
func (n *node) reachable(ctx context.Context, r reply, address string) error {
	for n.troubled.Load() {
		n.mu.Lock()
		healed := n.healed
		if n.left(address) {
			healed = make(chan struct{}) // never closed: a waiting client cannot know that the machine has moved
		}
		n.mu.Unlock()
		if healed == nil {
			return nil
		}
		if err := r.wait(ctx, healed); err != nil {
			return err
		}
	}
	return nil
}

// wait waits until a channel is closed. It returns at once for a nil channel.
func (r reply) wait(ctx context.Context, closed <-chan struct{}) error {
	if closed == nil {
		return nil
	}
	defer r.woken()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.cut:
		return errCut
	}
}
