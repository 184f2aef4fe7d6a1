package agent_test

import (
	"errors"
	"os/exec"
	"slices"
	"testing"

	"github.com/berth-go/berth/agent"
)

// TestOutcome holds every kind of end of each stream against every kind of exit.
func TestOutcome(t *testing.T) {
	own, lostCount := errors.New("the caller's disk is full"), errors.New("the agent has lost count")
	kinds := []agent.StreamEnd{{}, {Own: own}, {Cut: agent.ErrGone}, {Cut: agent.ErrClosed}, {Cut: exec.ErrWaitDelay}, {Cut: lostCount}}
	// A program that has ended reads no more: only the end of the client does not matter to its Stdin.
	heedless := []error{agent.ErrGone, agent.ErrClosed}
	for _, exit := range []agent.Exit{{}, {Code: 3}, {Code: -1, Signal: 9}} {
		for _, in := range kinds {
			for _, out := range kinds {
				for _, errs := range kinds {
					ends := agent.Ends{Stdin: in, Stdout: out, Stderr: errs}
					got, err := ends.Outcome(exit, nil)
					if got != exit {
						t.Errorf("%+v with %+v: exit %+v", ends, exit, got)
					}
					cut, isCut := errors.AsType[*agent.CutError](err)
					stdin := in.Cut
					if slices.Contains(heedless, stdin) {
						stdin = nil
					}
					switch {
					case out.Cut != nil || errs.Cut != nil || stdin != nil:
						if !isCut || cut.Stdout != out.Cut || cut.Stderr != errs.Cut || cut.Stdin != stdin {
							t.Errorf("%+v: %v", ends, err)
						}
						for _, cause := range []error{out.Cut, errs.Cut, stdin} {
							if cause != nil && !errors.Is(err, cause) {
								t.Errorf("%+v: %v does not say %v", ends, err, cause)
							}
						}
					case in.Own != nil || out.Own != nil || errs.Own != nil:
						if isCut || !errors.Is(err, own) {
							t.Errorf("%+v: %v", ends, err)
						}
					case err != nil:
						t.Errorf("%+v: %v", ends, err)
					}
					if got, err := ends.Outcome(exit, agent.ErrGone); got != (agent.Exit{}) || err != agent.ErrGone {
						t.Errorf("%+v, when the exit is not known: %+v, %v", ends, got, err)
					}
				}
			}
		}
	}
}
