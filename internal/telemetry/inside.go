package telemetry

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// measuredInside measures what the Inside that it embeds does, without EndedSessions and Questions, which wait for something to happen.
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

// FillCaches implements orchestrator.Inside.
func (i *measuredInside) FillCaches(ctx context.Context, f agent.Fill, progress func(agent.Progress)) (agent.Filled, error) {
	ctx, r := i.t.calls.fillCaches.begin(ctx)
	filled, err := i.Inside.FillCaches(ctx, f, progress)
	r.end(err)
	return filled, err
}

// Prepare implements orchestrator.Inside.
func (i *measuredInside) Prepare(ctx context.Context, p agent.Preparation, progress func(agent.Progress)) (agent.Prepared, error) {
	ctx, r := i.t.calls.prepareWorkspace.begin(ctx)
	made, err := i.Inside.Prepare(ctx, p, progress)
	r.end(err)
	return made, err
}

// Promote implements orchestrator.Inside.
func (i *measuredInside) Promote(ctx context.Context, p agent.Promotion, progress func(agent.Progress)) (agent.Prepared, error) {
	ctx, r := i.t.calls.promote.begin(ctx)
	made, err := i.Inside.Promote(ctx, p, progress)
	r.end(err)
	return made, err
}

// Layer implements orchestrator.Inside.
func (i *measuredInside) Layer(ctx context.Context, key, commit string, w io.Writer) error {
	ctx, r := i.t.calls.layer.begin(ctx)
	err := i.Inside.Layer(ctx, key, commit, w)
	r.end(err)
	return err
}

// PutLayer implements orchestrator.Inside.
func (i *measuredInside) PutLayer(ctx context.Context, o agent.Offer, in io.Reader) (agent.Prepared, error) {
	ctx, r := i.t.calls.putLayer.begin(ctx)
	made, err := i.Inside.PutLayer(ctx, o, in)
	r.end(err)
	return made, err
}

// KeepWork implements orchestrator.Inside.
func (i *measuredInside) KeepWork(ctx context.Context, k agent.Keep) (agent.Kept, error) {
	ctx, r := i.t.calls.keepWork.begin(ctx)
	kept, err := i.Inside.KeepWork(ctx, k)
	r.end(err)
	return kept, err
}

// BringWork implements orchestrator.Inside.
func (i *measuredInside) BringWork(ctx context.Context, kept, into string) (agent.Kept, error) {
	ctx, r := i.t.calls.bringWork.begin(ctx)
	brought, err := i.Inside.BringWork(ctx, kept, into)
	r.end(err)
	return brought, err
}

// AttachCommand implements orchestrator.Inside. The command itself counts where it was started.
func (i *measuredInside) AttachCommand(ctx context.Context, a agent.Attach) (orchestrator.Process, agent.Attached, error) {
	ctx, r := i.t.calls.attachCommand.begin(ctx)
	process, at, err := i.Inside.AttachCommand(ctx, a)
	r.end(err)
	return process, at, err
}

// Dial implements orchestrator.Inside.
func (i *measuredInside) Dial(ctx context.Context, d agent.Dial) (*agent.Conn, error) {
	ctx, r := i.t.calls.dial.begin(ctx)
	conn, err := i.Inside.Dial(ctx, d)
	if errors.Is(err, syscall.ECONNREFUSED) {
		r.end(nil) // the session does not listen, as a caller who waits for its server finds
	} else {
		r.end(err)
	}
	return conn, err
}

// Ports implements orchestrator.Inside.
func (i *measuredInside) Ports(ctx context.Context, session string) ([]agent.Port, error) {
	ctx, r := i.t.calls.ports.begin(ctx)
	ports, err := i.Inside.Ports(ctx, session)
	r.end(err)
	return ports, err
}

// AnswerQuestion implements orchestrator.Inside.
func (i *measuredInside) AnswerQuestion(ctx context.Context, id string, a agent.Answer) error {
	ctx, r := i.t.calls.answer.begin(ctx)
	err := i.Inside.AnswerQuestion(ctx, id, a)
	r.end(err)
	return err
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
