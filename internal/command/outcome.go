package command

import (
	"fmt"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
)

// An outcome is all that is known of a command's end. It alone decides what Wait returns.
type outcome struct {
	exit   agent.Exit
	lost   error // why the exit is not known; nil = it is known
	killed error // the cause of the context, if the context ended before the program; nil = it did not
	doomed error // why the session ended, if its end killed the program; nil = it did not
	fault  error // of the caller's Stdin; nil = it has not failed
	input  error // why Stdin was not waited for; nil = it was
	torn   bool  // output was not delivered to its last byte, as far as is known
	cut    error // why it was not; nil = killed or lost says it
}

// err returns Wait's error. exitError makes the error of a program that did not succeed.
func (e *outcome) err(exitError func(agent.Exit) error) error {
	why := e.cause(exitError)
	switch {
	case !e.torn:
		return why
	case why == nil:
		return fmt.Errorf("%w: %w", errs.ErrOutputCut, e.cut)
	case e.cut == nil:
		return fmt.Errorf("%w; %w", why, errs.ErrOutputCut)
	}
	return fmt.Errorf("%w; %w: %w", why, errs.ErrOutputCut, e.cut)
}

// cause returns the part of Wait's error that is not about output.
func (e *outcome) cause(exitError func(agent.Exit) error) error {
	switch {
	case e.killed != nil:
		return e.killed
	case e.lost != nil:
		return e.lost
	case e.doomed != nil:
		return e.doomed
	case e.exit != agent.Exit{}:
		return exitError(e.exit)
	case e.fault != nil:
		return e.fault
	case e.cut != nil:
		return nil // cut says more than input
	}
	return e.input
}

// code returns the exit code: -1 if it is not known.
func (e *outcome) code() int {
	if e.lost != nil {
		return -1
	}
	return e.exit.Code
}
