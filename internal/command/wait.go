package command

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/berth-go/berth/agent"
)

// Wait returns when the command has ended and its streams are copied, with the exit code: -1 if it is not known.
func (c *Command) Wait() (code int, err error) {
	switch {
	case c.process == nil:
		return c.code, errNotStarted
	case c.waited:
		return c.code, errors.New("berth: Wait was called before")
	}
	c.waited = true
	<-c.settled
	end := &c.early // the rest of the command ends in the background
	select {
	case <-c.ended:
		end = &c.end
	default:
	}
	c.code = end.code()
	return c.code, end.err(c.exitError)
}

// programEnded is called when the program has ended. lost says why its exit will never be known; nil = exit holds it.
func (c *Command) programEnded(exit agent.Exit, lost error) {
	if lost == nil {
		c.exit.Store(&exit)
	}
	c.over.Store(true)
	c.streams.endInput()
}

// finish waits for the end of the command, even if Wait is not called: the pipes must end, and what happens to the session
// afterwards must not change how the command has ended.
func (c *Command) finish() {
	defer c.endLife()
	c.end = c.outcome(c.process.Wait())
	err := c.end.err(c.exitError)
	c.host.Ended(err)
	c.streams.shut()
	c.streams.endPipes(err) // those that have not ended yet
	close(c.ended)
	c.release()
}

// outcome returns how the command has ended, from what its process's Wait has returned. It ends the pipes that are whole.
func (c *Command) outcome(exit agent.Exit, err error) outcome {
	e := outcome{exit: exit, fault: c.streams.inputFault()}
	var stdout, stderr error // why they are not whole
	cut, isCut := errors.AsType[*agent.CutError](err)
	_, own := errors.AsType[*streamError](err) // the gates and e.fault hold it, unless it says that a pipe was closed early
	switch {
	case isCut:
		stdout, stderr, e.input = cut.Stdout, cut.Stderr, cut.Stdin
	case err != nil && !own:
		e.lost, stdout, stderr = err, err, err
	}
	e.cut = c.streams.endOutput(stdout, stderr)
	e.torn = e.cut != nil
	c.explain(&e)
	return e
}

// explain replaces the agent's errors in an outcome by those of package berth.
func (c *Command) explain(e *outcome) {
	ctx := context.WithoutCancel(c.ctx)
	inSession := func(err error) error {
		return c.host.Explain(ctx, fmt.Errorf("session %s: %w", c.host.ID(), err))
	}
	switch {
	case c.killed.Load():
		e.killed, e.cut = context.Cause(c.ctx), nil
		return
	case e.lost != nil:
		e.lost, e.cut = inSession(e.lost), nil
		return
	}
	_, own := errors.AsType[*streamError](e.cut)
	if e.cut != nil && !own && !errors.Is(e.cut, exec.ErrWaitDelay) {
		e.cut = inSession(e.cut)
	}
	if e.exit.Signal == 0 {
		return
	}
	signal := c.exitError(e.exit)
	if e.exit.OverLimit != "" {
		signal = fmt.Errorf("%w: %s", agent.ErrOverLimit, e.exit.OverLimit)
	}
	if why := c.host.Explain(ctx, signal); why != signal {
		e.doomed = why
	}
}

// known returns what is known of the end of a command whose context has ended, without waiting for its end.
func (c *Command) known() outcome {
	why := context.Cause(c.ctx)
	e := outcome{fault: c.streams.inputFault(), input: why, torn: c.streams.hasOutput(), cut: why}
	exit := c.exit.Load()
	if exit != nil {
		e.exit = *exit
	}
	switch {
	case exit == nil:
		e.killed, e.lost, e.cut = why, why, nil
	case c.killed.Load():
		e.killed, e.cut = why, nil
	case !e.torn:
		e.cut = nil
	}
	return e
}
