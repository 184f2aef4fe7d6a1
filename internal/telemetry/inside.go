package telemetry

import (
	"context"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// measuredInside measures what the Inside that it embeds does.
type measuredInside struct {
	orchestrator.Inside
	t *Telemetry
}

// Fetch implements orchestrator.Inside.
func (i *measuredInside) Fetch(ctx context.Context, f agent.Fetch, progress func(agent.Progress)) (agent.Mirror, error) {
	ctx, phase := i.t.Phase(ctx, PhaseFetch)
	mirror, err := i.Inside.Fetch(ctx, f, progress)
	phase.End(err)
	return mirror, err
}

// Open implements orchestrator.Inside.
func (i *measuredInside) Open(ctx context.Context, s agent.Session) (agent.Checkout, error) {
	ctx, phase := i.t.Phase(ctx, PhaseCheckout)
	checkout, err := i.Inside.Open(ctx, s)
	phase.End(err)
	return checkout, err
}

// CloseSession implements orchestrator.Inside.
func (i *measuredInside) CloseSession(ctx context.Context, id string, uid int) error {
	ctx, r := i.t.calls.closeSession.begin(ctx)
	err := i.Inside.CloseSession(ctx, id, uid)
	r.end(err)
	return err
}

// Sessions implements orchestrator.Inside.
func (i *measuredInside) Sessions(ctx context.Context) (map[string]int, error) {
	ctx, r := i.t.calls.sessions.begin(ctx)
	all, err := i.Inside.Sessions(ctx)
	r.end(err)
	return all, err
}

// Idle implements orchestrator.Inside.
func (i *measuredInside) Idle(ctx context.Context, session string) (time.Duration, error) {
	ctx, r := i.t.calls.idle.begin(ctx)
	idle, err := i.Inside.Idle(ctx, session)
	r.end(err)
	return idle, err
}

// Renew implements orchestrator.Inside.
func (i *measuredInside) Renew(ctx context.Context, session string) error {
	ctx, r := i.t.calls.renew.begin(ctx)
	err := i.Inside.Renew(ctx, session)
	r.end(err)
	return err
}

// Commands implements orchestrator.Inside.
func (i *measuredInside) Commands(ctx context.Context, session string, after uint64) ([]agent.CommandInfo, error) {
	ctx, r := i.t.calls.commands.begin(ctx)
	some, err := i.Inside.Commands(ctx, session, after)
	r.end(err)
	return some, err
}

// Start implements orchestrator.Inside.
func (i *measuredInside) Start(ctx context.Context, c agent.Command) (orchestrator.Process, error) {
	ctx, command := i.t.command(ctx, &c)
	inner, r := i.t.calls.start.begin(ctx)
	process, err := i.Inside.Start(inner, c)
	r.end(err)
	if err != nil {
		command.end(ctx, errorType(err))
		return nil, err
	}
	if command.t == nil {
		return process, nil
	}
	return &measuredProcess{process, command, context.WithoutCancel(ctx)}, nil
}
