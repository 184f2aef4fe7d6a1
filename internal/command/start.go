package command

import (
	"context"
	"errors"
	"fmt"
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
	if len(c.spec.Args) == 0 {
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
	process, err := inside.Start(ctx, agent.Command{
		Session: c.host.ID(), Args: c.spec.Args, Env: c.spec.Env, Dir: c.spec.Dir,
		Stdin: stdin, Stdout: stdout, Stderr: stderr, WaitDelay: c.spec.WaitDelay, Ended: c.programEnded,
		Terminal: c.spec.Terminal,
	})
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

// explainStart returns what Start says of an error of the agent. ctx is the context of the call that failed.
func (c *Command) explainStart(ctx context.Context, err error) error {
	if c.ctx.Err() == nil && ctx.Err() != nil && !errors.Is(err, errNoAnswer) {
		err = fmt.Errorf("%w: %v", errNoAnswer, err) // %v: the caller's context has not ended
	}
	err = c.host.Explain(c.ctx, fmt.Errorf("session %s: %q: %w", c.host.ID(), c.spec.Args[0], err))
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return err
}
