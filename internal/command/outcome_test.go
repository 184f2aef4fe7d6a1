package command

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
)

// An exitError is the error of a program that did not succeed.
type exitError struct{ agent.Exit }

func (e *exitError) Error() string { return fmt.Sprintf("exit %+v", e.Exit) }

func newExitError(exit agent.Exit) error { return &exitError{exit} }

// TestOutcome holds exit, context, end of the session, streams and output against each other: whatever else is so, Wait's
// error is ErrOutputCut exactly if output is not whole, tells of an exit that is known, and of every cause.
func TestOutcome(t *testing.T) {
	full := errors.New("the caller's disk is full")
	lost := fmt.Errorf("session s: %w", errs.ErrContainerLost)
	doomed := fmt.Errorf("session s: %w", errs.ErrExpired)
	for _, exit := range []agent.Exit{{}, {Code: 3}, {Code: -1, Signal: 9}} {
		for _, killed := range []error{nil, context.Canceled} {
			for _, unknown := range []error{nil, lost} {
				for _, end := range []error{nil, doomed} {
					for _, fault := range []error{nil, full} {
						for _, input := range []error{nil, exec.ErrWaitDelay} {
							for _, cut := range []error{nil, errs.ErrClosed, exec.ErrWaitDelay} {
								for _, torn := range []bool{false, true} {
									o := outcome{exit: exit, killed: killed, lost: unknown, fault: fault, input: input, torn: torn}
									if unknown != nil {
										o.exit = agent.Exit{}
									}
									if exit.Signal != 0 && unknown == nil {
										o.doomed = end
									}
									if torn && killed == nil && unknown == nil {
										o.cut = errs.ErrClosed
										if cut != nil {
											o.cut = cut
										}
									}
									checkOutcome(t, o)
								}
							}
						}
					}
				}
			}
		}
	}
}

func checkOutcome(t *testing.T, o outcome) {
	t.Helper()
	err := o.err(newExitError)
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%+v: %v: %s", o, err, fmt.Sprintf(format, args...))
	}
	if errors.Is(err, errs.ErrOutputCut) != o.torn {
		wrong("whether output is whole is wrong")
	}
	if o.torn && o.cut != nil && !errors.Is(err, o.cut) {
		wrong("why output is not whole is not said")
	}
	exit, failed := errors.AsType[*exitError](err)
	if failed && (exit.Code != o.exit.Code || exit.Signal != o.exit.Signal) {
		wrong("it tells of another exit")
	}
	want := error(nil)
	switch {
	case o.killed != nil:
		want = o.killed
	case o.lost != nil:
		want = o.lost
	case o.doomed != nil:
		want = o.doomed
	case o.exit != agent.Exit{}:
		if !failed {
			wrong("it does not tell of the exit")
		}
	case o.fault != nil:
		want = o.fault
	case !o.torn:
		want = o.input
	}
	switch {
	case want != nil && !errors.Is(err, want):
		wrong("want %v", want)
	case want == nil && !failed && !o.torn && err != nil:
		wrong("want none")
	}
	code := o.exit.Code
	if o.lost != nil {
		code = -1
	}
	if o.code() != code {
		wrong("exit code %d", o.code())
	}
}
