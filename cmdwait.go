package berth

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// Wait returns when the command has ended and its streams are copied. *ExitError: it did not succeed; as in os/exec, that
// comes before the error of a stream, and before exec.ErrWaitDelay. The cause of the context, when that ended it; if the
// host cannot be reached then, the command is killed once it can be. When the session ended under it, the error says why;
// ErrClosed: the Provider was closed, and the command goes on. An end of the context or of the session that comes after
// the program's changes nothing of this, unless the streams outlast it by too much: see WaitDelay.
func (c *Cmd) Wait() error {
	switch {
	case c.process == nil:
		return errors.New("berth: the command was not started")
	case c.waited:
		return errors.New("berth: Wait was called before")
	}
	c.waited = true
	<-c.settled
	select {
	case <-c.ended:
		c.ExitCode = c.code
		return c.err
	default: // what is left of it ends in the background
		return context.Cause(c.ctx)
	}
}

// programEnded is told when the program has ended, or when it is known that nobody will know.
func (c *Cmd) programEnded() {
	c.over.Store(true)
	c.endInput()
}

// finish waits for the command, whether Wait is called or not: its pipes see their end, and what becomes of its session
// later does not change how it has ended.
func (c *Cmd) finish() {
	defer close(c.done)
	exit, err := c.process.Wait()
	_, own := errors.AsType[*streamError](err)
	if own {
		err = c.firstFault() // nil when somebody has closed a pipe, and no more
	}
	whole := err == nil || own // else its output may be cut off
	if whole {
		c.endPipes(nil)
	}
	c.code = -1
	if whole || errors.Is(err, exec.ErrWaitDelay) || exit != (agent.Exit{}) { // the exit is known
		c.code = exit.Code
	}
	c.err = c.result(exit, err)
	c.shutOutput()
	close(c.ended)
	c.stop()
}

// result is what Wait says of a program's exit and of the error that came with it. As in os/exec, a program that did not
// succeed comes before a stream that failed. Pipes that have not ended yet end with why that is.
func (c *Cmd) result(exit agent.Exit, err error) (result error) {
	ctx := context.WithoutCancel(c.ctx)
	lost := errors.Is(err, agent.ErrGone) || errors.Is(err, agent.ErrClosed)
	switch {
	case err == nil && exit == agent.Exit{}:
		return nil
	case c.killed.Load():
		err = context.Cause(c.ctx)
		result = err
	case lost || exit == agent.Exit{}:
		err = c.s.because(ctx, fmt.Errorf("session %s: %w", c.s.id, err))
		result = err
	case exit.Signal != 0:
		result = c.s.because(ctx, &ExitError{Code: exit.Code, Signal: exit.Signal})
	default:
		result = &ExitError{Code: exit.Code}
	}
	c.endPipes(err)
	return result
}

// because replaces the error of a call that failed because its session ended, or the Provider was closed, by the reason
// for that. It asks the store, and takes no more than a few seconds, also where that does not answer.
func (s *Session) because(ctx context.Context, err error) error {
	if errors.Is(err, agent.ErrGone) { // its sessions are ended just now
		t := time.NewTimer(endGrace)
		defer t.Stop()
		select {
		case <-s.Done():
		case <-s.p.closing:
		case <-ctx.Done():
		case <-t.C:
		}
	}
	if closed := s.orClosed(ctx, err); errors.Is(closed, ErrClosed) {
		return closed
	}
	// A process that a signal ended may have died with its session, whose end is stored before anything is killed.
	ctx, cancel := context.WithTimeout(ctx, endGrace)
	defer cancel()
	r, rerr := s.p.find(ctx, s.id)
	if rerr == nil && r != nil && r.State != store.SessionActive && r.End.Reason != "" {
		return fmt.Errorf("session %s: %w", s.id, endError(r))
	}
	return err
}

// orClosed replaces the error of a call that failed because the Provider was closed under it by ErrClosed.
func (s *Session) orClosed(ctx context.Context, err error) error {
	select {
	case <-s.p.closing:
	default:
		return err
	}
	if errors.Is(err, agent.ErrClosed) || errors.Is(err, context.Canceled) && ctx.Err() == nil {
		return fmt.Errorf("session %s: %w", s.id, ErrClosed)
	}
	return err
}
