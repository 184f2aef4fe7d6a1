package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/orchestrator"
)

// startTimeout bounds the start of a command in its container.
const startTimeout = time.Minute

// errNoAnswer is the cause with which a start is given up.
var errNoAnswer = fmt.Errorf("%w: the agent of the container has not answered for %v", errs.ErrUnavailable, startTimeout)

// Start starts the command. If it fails, the command's pipes end with its error.
func (c *Command) Start(spec Spec) error {
	if c.started {
		return errors.New("berth: the command was started before")
	}
	c.started, c.spec = true, spec
	err := c.start()
	if err != nil {
		c.streams.endInput()
		c.streams.endPipes(err)
	}
	return err
}

func (c *Command) start() error {
	if len(c.spec.Args) == 0 && c.spec.Attach == "" {
		return fmt.Errorf("session %s: %w: Cmd.Args names no program", c.host.ID(), agent.ErrNotExecutable)
	}
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return c.host.Use(c.ctx, c.startInside)
}

// startInside starts the command in the session's container.
func (c *Command) startInside(inside orchestrator.Inside, release func()) error {
	c.lease = release
	ctx, cancel := context.WithTimeoutCause(c.ctx, startTimeout, errNoAnswer)
	defer cancel()
	stdin, copyFile := c.streams.input(c.spec.Stdin)
	stdout, stderr := c.streams.output(c.spec.Stdout, c.spec.Stderr)
	var process orchestrator.Process
	var err error
	if c.spec.Attach != "" {
		process, err = c.attach(ctx, inside, stdin, stdout, stderr)
	} else {
		process, err = inside.Start(ctx, agent.Command{
			Session: c.host.ID(), Args: c.spec.Args, Env: c.spec.Env, Dir: c.spec.Dir,
			Stdin: stdin, Stdout: stdout, Stderr: stderr, WaitDelay: c.spec.WaitDelay, Ended: c.programEnded,
			Terminal: c.spec.Terminal, Detached: c.spec.Detached, Keep: c.spec.Keep, Hidden: c.spec.Hidden,
		})
	}
	if err != nil {
		c.release()
		return c.explainStart(ctx, err)
	}
	copyFile()
	c.process = process
	c.life, c.endLife = context.WithCancel(context.WithoutCancel(c.ctx))
	c.ended, c.settled = make(chan struct{}), make(chan struct{})
	c.host.Go(c.watch) // both end soon after Close has ended the connection
	c.host.Go(c.finish)
	return nil
}

// attach copies the streams of a command that was started before.
func (c *Command) attach(ctx context.Context, inside orchestrator.Inside, stdin io.Reader, stdout, stderr io.Writer) (orchestrator.Process, error) {
	process, at, err := inside.AttachCommand(ctx, agent.Attach{
		Session: c.host.ID(), ID: c.spec.Attach, Stdin: stdin, Stdout: stdout, Stderr: stderr,
		StdoutFrom: *c.spec.StdoutFrom, StderrFrom: *c.spec.StderrFrom, WaitDelay: c.spec.WaitDelay, Ended: c.programEnded,
	})
	if err != nil {
		return nil, err
	}
	*c.spec.StdoutFrom, *c.spec.StderrFrom = at.StdoutFrom, at.StderrFrom
	if at.Terminal {
		c.spec.Terminal = new(agent.Size)
	}
	return process, nil
}

// name returns the program, or the command that is attached.
func (c *Command) name() string {
	if c.spec.Attach != "" {
		return "command " + c.spec.Attach
	}
	return c.spec.Args[0]
}

// explainStart returns what Start says of an error of the agent. ctx is the context of the call that failed.
func (c *Command) explainStart(ctx context.Context, err error) error {
	if c.ctx.Err() == nil && ctx.Err() != nil && !errors.Is(err, errNoAnswer) {
		err = fmt.Errorf("%w: %v", errNoAnswer, err) // %v: the caller's context has not ended
	}
	err = c.host.Explain(c.ctx, fmt.Errorf("session %s: %q: %w", c.host.ID(), c.name(), err))
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return err
}
