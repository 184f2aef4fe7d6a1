package orchestrator

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// hear ends the sessions that the agent of a container has ended, until ctx ends. Every process that is attached to the container
// does so: the first that comes ends the session.
func (k *keeper) hear(ctx context.Context, c *store.Container) {
	for seen := 0; ctx.Err() == nil; {
		ended, err := k.inside.EndedSessions(ctx, seen)
		switch {
		case errors.Is(err, errors.ErrUnsupported), errors.Is(err, agent.ErrGone), errors.Is(err, agent.ErrClosed):
			return
		case err != nil:
			_ = loop.Sleep(ctx, poll)
		}
		for _, s := range ended {
			k.m.cfg.Sessions.EndSession(*c, s.ID, fmt.Errorf("%w: %s", agent.ErrOverLimit, s.Reason))
			seen = s.Number
		}
	}
}
