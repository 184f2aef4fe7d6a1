package berth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
)

// Times of a command.
const (
	startTimeout = time.Minute      // bounds its start
	killTimeout  = 30 * time.Second // bounds one attempt to kill it
	killPause    = 5 * time.Second  // between two attempts
	cancelGrace  = 5 * time.Second  // from its context's end to Wait's, if WaitDelay is not longer
	endGrace     = 5 * time.Second  // for the end of a session whose container is gone to be stored; and to ask for it
	drainTime    = time.Second      // for what it had written before it was killed to be read from its pipes
)

// errNoAnswer is the cause with which a start is given up.
var errNoAnswer = fmt.Errorf("the agent of the container has not answered for %v", startTimeout)

// watch kills the command when its context ends, and sees to it that Wait then returns.
func (c *Cmd) watch() {
	defer close(c.settled)
	select {
	case <-c.done:
		return
	case <-c.ctx.Done():
	}
	c.killed.Store(!c.over.Load()) // else what it has left behind is killed, for its streams to end
	overdue := time.NewTimer(max(c.WaitDelay, cancelGrace))
	defer overdue.Stop()
	killed := make(chan struct{})
	c.s.p.loops.Go(func() {
		defer close(killed)
		c.kill()
	})
	select {
	case <-killed:
	case <-overdue.C:
		c.giveUp()
		return
	}
	drained := time.NewTimer(drainTime)
	defer drained.Stop()
	select {
	case <-c.done:
		return
	case <-drained.C:
		c.cutOff() // nobody reads them
	case <-overdue.C:
		c.giveUp()
		return
	}
	select {
	case <-c.done:
	case <-overdue.C:
		c.giveUp()
	}
}

// kill kills the command, however long its host cannot be reached.
func (c *Cmd) kill() {
	for reported := false; ; reported = true {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), killTimeout)
		err := c.process.Kill(ctx)
		cancel()
		if err == nil || errors.Is(err, agent.ErrGone) || errors.Is(err, agent.ErrClosed) {
			return
		}
		if !reported {
			c.s.p.failed("cannot kill a command", err, "session", c.s.id)
		}
		pause := time.NewTimer(killPause)
		select {
		case <-pause.C:
		case <-c.done:
			pause.Stop()
			return
		}
	}
}

// giveUp lets go of a command that does not end, whose context has: what is left of it ends in the background.
func (c *Cmd) giveUp() {
	c.endInput()
	c.cutOff()
	c.shutOutput()
	c.s.p.loops.Go(c.stop) // it calls the store, which may hang
}
