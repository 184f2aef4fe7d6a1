package fake

import (
	"context"
	"errors"

	"github.com/berth-go/berth/orchestrator"
)

var errNoRoute = errors.New("connect: no route to host")

// answers returns nil when the engine on the host answers. One that hangs is waited for.
func (n *node) answers(ctx context.Context, r reply) error {
	for n.troubled.Load() {
		n.mu.Lock()
		gone, away, wrong, healed := n.gone, n.away, n.wrong, n.healed
		n.mu.Unlock()
		switch {
		case gone:
			n.engine.mu.Lock()
			address := n.address
			n.engine.mu.Unlock()
			if _, reused := n.engine.opts.Cloud.runs(address); reused {
				return orchestrator.ErrWrongHost
			}
			return errNoRoute
		case away:
			return errNoRoute
		case wrong:
			return orchestrator.ErrWrongHost
		}
		if err := r.wait(ctx, healed); err != nil {
			return err
		}
	}
	return nil
}

// reachable returns when the agents on the host can be reached, as a client that connects again and again does.
func (n *node) reachable(ctx context.Context, r reply) error {
	for n.troubled.Load() {
		n.mu.Lock()
		healed := n.healed
		if n.gone {
			healed = make(chan struct{}) // for ever: who waits cannot know that
		}
		n.mu.Unlock()
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
