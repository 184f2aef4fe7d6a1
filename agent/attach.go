package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/berth-go/berth/agent/internal/wire"
)

// Attach copies the streams of a command that was started Detached, whichever client has started it. Any number of clients may do so at
// once. ctx bounds the attaching only.
//
// Where the agent does not keep the beginning any more that was asked for, because a command has written more than it keeps, the copying
// begins with what is kept, as the Attached says, and Wait returns a *CutError. The same holds for a Writer that is so slow that
// bytes are dropped before it: it gets none that come later.
//
// Attach returns ErrUnknownSession if the session is not open, ErrUnknownCommand if it has no such command that was started Detached, and
// errors.ErrUnsupported if the agent is too old for it.
func (c *Client) Attach(ctx context.Context, a Attach) (*Process, Attached, error) {
	var kept wire.Attached
	path := fmt.Sprintf("sessions/%s/commands/%s", url.PathEscape(a.Session), url.PathEscape(a.ID))
	if err := c.do(ctx, request{method: http.MethodGet, path: path, answer: &kept, timeout: short}); err != nil {
		if unknownCommand(err) {
			err = fmt.Errorf("%w: %w", ErrUnknownCommand, err)
		}
		return nil, Attached{}, err
	}
	p := &Process{
		c: c, id: a.ID, path: "commands/" + a.ID, delay: a.WaitDelay, onEnd: a.Ended, ended: make(chan struct{}),
		keeps: true, writer: rand.Text(),
	}
	p.ctx, p.cancel = context.WithCancelCause(c.ctx)
	if !c.spawn(p.awaitExit) {
		p.cancel(ErrClosed)
		return nil, Attached{}, ErrClosed
	}
	at := Attached{Terminal: kept.Terminal}
	if a.Stdout != nil && kept.Stdout != nil {
		from, missing := kept.Stdout.Begin(a.StdoutFrom)
		at.StdoutFrom, p.stdout = from, p.copyOut("stdout", a.Stdout, from, dropped(missing))
	}
	if a.Stderr != nil && kept.Stderr != nil {
		from, missing := kept.Stderr.Begin(a.StderrFrom)
		at.StderrFrom, p.stderr = from, p.copyOut("stderr", a.Stderr, from, dropped(missing))
	}
	if a.Stdin != nil && kept.Stdin {
		p.stdin = p.copyIn(a.Stdin)
	}
	return p, at, nil
}

// dropped returns the error for bytes that are not kept any more.
func dropped(n int64) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d bytes at its beginning", errDropped, n)
}

// errDetached is why the exit of a command is not known to a Process that has let go of it.
var errDetached = errors.New("the command goes on without this client")

// Detach ends the copying, and makes Wait return without the exit. A command that was started Detached goes on.
func (p *Process) Detach() { p.cancel(errDetached) }

// Delete kills the command, as Kill does, and makes the agent forget it, with the output that it keeps.
func (p *Process) Delete(ctx context.Context) error {
	err := p.c.untilDead(ctx, http.MethodDelete, p.path+"?kill=1")
	if unknownCommand(err) {
		return nil
	}
	return err
}
