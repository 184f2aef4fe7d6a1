package fake

import (
	"context"
	"errors"

	"github.com/berth-go/berth/orchestrator"
)

var errNoRoute = errors.New("connect: no route to host")

// left reports whether the machine is at an address no more. The caller holds mu.
func (n *node) left(address string) bool { return n.gone || n.moved != "" && n.moved != address }

// answers returns nil when the engine on the host answers at an address. One that hangs is waited for.
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

// reachable returns when the agents on the host can be reached at an address, as a client that connects again and
// again does.
func (n *node) reachable(ctx context.Context, r reply, address string) error {
	for n.troubled.Load() {
		n.mu.Lock()
		healed := n.healed
		if n.left(address) {
			healed = make(chan struct{}) // for ever: who waits cannot know that
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

// wait waits for something that closes a channel; nil was closed already.
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
