package command

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/loop"
)

// Times of a command whose context has ended.
const (
	killTimeout = 30 * time.Second // bounds one attempt to kill it
	killPause   = 5 * time.Second  // between two attempts
	cancelGrace = 5 * time.Second  // from the end of the context to the end of Wait, if WaitDelay is not longer
	drainTime   = time.Second      // for the readers of its pipes to read what it wrote before it was killed
)

// watch kills the command when its context ends, and then lets Wait return in time.
func (c *Command) watch() {
	defer close(c.settled)
	end := c.ctx.Done()
	if c.spec.Detached {
		end = nil // it bounded the start only
	}
	select {
	case <-c.life.Done():
		return
	case <-end:
	}
	if c.spec.Attach != "" {
		c.killed.Store(!c.over.Load()) // for Wait, it is as if it was
		c.process.Detach()             // before giveUp ends the input, which would be the end of the program's
		c.giveUp()
		return
	}
	c.killed.Store(!c.over.Load()) // if it is over, what it left behind is killed, so that its streams end
	grace, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), max(c.spec.WaitDelay, cancelGrace))
	defer cancel()
	killed := make(chan struct{})
	c.host.Go(func() {
		defer close(killed)
		c.kill()
	})
	if !c.drain(grace, killed) {
		c.giveUp()
	}
}

// drain waits for the end of a command that is being killed, and reports whether it has ended before ctx did. It cuts off
// the command's pipes if they are not read.
func (c *Command) drain(ctx context.Context, killed <-chan struct{}) (ended bool) {
	select {
	case <-killed:
	case <-ctx.Done():
		return false
	}
	if loop.Wait(ctx, drainTime, c.life.Done()) != nil {
		return false
	}
	if c.life.Err() == nil {
		c.streams.cutOff()
	}
	select {
	case <-c.life.Done():
		return true
	case <-ctx.Done():
		return false
	}
}

// kill kills the command. It tries until it succeeds, as long as the command has not ended: the host may be out of reach.
func (c *Command) kill() {
	reported := false
	loop.Retry(c.life, loop.Pauses{First: killPause, Longest: killPause}, func() (done bool) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), killTimeout)
		defer cancel()
		err := c.process.Kill(ctx)
		if err == nil || errors.Is(err, agent.ErrGone) || errors.Is(err, agent.ErrClosed) {
			return true
		}
		if !reported {
			c.host.Report(c.ctx, "cannot kill a command", err)
		}
		reported = true
		return false
	})
}

// giveUp lets Wait return although the command has not ended. The rest of it ends in the background.
func (c *Command) giveUp() {
	c.streams.endInput()
	c.streams.cutOff()
	c.streams.shut()
	c.early = c.known()
	c.host.Go(c.release)
}
