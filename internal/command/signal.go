package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
)

// askTimeout bounds a question to the container's agent.
const askTimeout = 30 * time.Second

// errNoReply is the cause with which a question is given up.
var errNoReply = fmt.Errorf("%w: the agent of the container has not answered for %v", errs.ErrUnavailable, askTimeout)

var errNotStarted = errors.New("berth: the command was not started")

// Signal signals the program, or with group its process group.
func (c *Command) Signal(sig os.Signal, group bool) error {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("session %s: %v is no signal of Linux: %w", c.host.ID(), sig, errors.ErrUnsupported)
	}
	return c.ask("signal", func(ctx context.Context) error { return c.process.Signal(ctx, number, group) })
}

// Resize sets the size of the program's terminal.
func (c *Command) Resize(size agent.Size) error {
	if c.process != nil && c.spec.Terminal == nil {
		return fmt.Errorf("session %s: %q has no terminal", c.host.ID(), c.name())
	}
	return c.ask("resize the terminal of", func(ctx context.Context) error { return c.process.Resize(ctx, size) })
}

// Kill kills the command with everything that it has started.
func (c *Command) Kill() error {
	return c.ask("kill", func(ctx context.Context) error { return c.process.Kill(ctx) })
}

// Delete kills the command, and drops what is kept of it.
func (c *Command) Delete() error {
	if c.process == nil {
		return errNotStarted
	}
	return c.question("delete", func(ctx context.Context) error { return c.process.Delete(ctx) })
}

// ask asks the agent something about a command that was started. It returns os.ErrProcessDone as it is.
func (c *Command) ask(what string, question func(context.Context) error) error {
	if c.process == nil {
		return errNotStarted
	}
	if c.exit.Load() != nil {
		return os.ErrProcessDone
	}
	return c.question(what, question)
}

func (c *Command) question(what string, question func(context.Context) error) error {
	asked := c.ctx
	if c.spec.Detached {
		asked = context.WithoutCancel(asked) // it bounded the start only
	}
	ctx, cancel := context.WithTimeoutCause(asked, askTimeout, errNoReply)
	defer cancel()
	err := question(ctx)
	switch {
	case err == nil || errors.Is(err, os.ErrProcessDone):
		return err
	case asked.Err() != nil:
		return context.Cause(asked)
	}
	return c.host.Explain(asked, fmt.Errorf("session %s: cannot %s %q: %w", c.host.ID(), what, c.name(), err))
}
