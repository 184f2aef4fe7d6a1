package berth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// finish waits for the command, so that its pipes see their end also before Wait is called.
func (c *Cmd) finish() {
	defer close(c.done)
	c.exit, c.err = c.process.Wait()
	c.endPipes(nil)
	c.shutOutput()
	c.stop()
}

// Wait returns when the command has ended and its streams are copied. *ExitError: it did not succeed. The cause of
// the context, when that ended it; if the host cannot be reached then, the command is killed once it can be. When the
// session ended under it, the error says why.
func (c *Cmd) Wait() error {
	switch {
	case c.process == nil:
		return errors.New("berth: the command was not started")
	case c.waited:
		return errors.New("berth: Wait was called before")
	}
	c.waited = true
	<-c.settled
	if c.gaveUp {
		return context.Cause(c.ctx)
	}
	exit := c.exit
	switch {
	case c.err != nil:
		return c.s.because(c.ctx, fmt.Errorf("session %s: %w", c.s.id, c.err))
	case exit.Code == 0 && exit.Signal == 0:
		c.ExitCode = 0
		return nil
	}
	c.ExitCode = exit.Code
	failure := &ExitError{Code: exit.Code, Signal: exit.Signal}
	if exit.Signal != 0 || c.ctx.Err() != nil {
		return c.s.because(c.ctx, failure)
	}
	return failure
}

// because replaces the error of a call that failed because its context or its session ended by the reason for that.
func (s *Session) because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, agent.ErrGone) { // its sessions are ended just now
		t := time.NewTimer(endGrace)
		defer t.Stop()
		select {
		case <-s.Done():
		case <-s.p.closing:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
	// A process that a signal ended may have died with its session, whose end is stored before anything is killed.
	r, rerr := s.p.find(context.WithoutCancel(ctx), s.id)
	if rerr == nil && r != nil && r.State != store.SessionActive && r.End.Reason != "" {
		return fmt.Errorf("session %s: %w", s.id, endError(r))
	}
	return err
}
