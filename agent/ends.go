package agent

import "errors"

// StreamEnd says how the copying of a command's stream ended. The zero value says that all was delivered: the last byte of an
// output, or as much of a Stdin as the program read.
type StreamEnd struct {
	Own error // the error of the caller's own Reader or Writer
	Cut error // if Own is nil: why the stream was not copied to its end
}

// Ends has the ends of a command's streams. A stream that is not copied has the zero value.
type Ends struct{ Stdin, Stdout, Stderr StreamEnd }

// Outcome returns the result of a command's Wait: see Process.Wait. lost says why the exit is not known; nil = it is known.
// Every implementation of Wait uses this function.
func (e Ends) Outcome(exit Exit, lost error) (Exit, error) {
	if lost != nil {
		return Exit{}, lost
	}
	cut := CutError{Stdin: e.Stdin.Cut, Stdout: e.Stdout.Cut, Stderr: e.Stderr.Cut}
	if errors.Is(cut.Stdin, ErrGone) || errors.Is(cut.Stdin, ErrClosed) || errors.Is(cut.Stdin, ErrIncompatible) {
		cut.Stdin = nil // it came after the end of the program, which has read all that it wanted
	}
	if cut.Stdin != nil || cut.Stdout != nil || cut.Stderr != nil {
		return exit, &cut
	}
	for _, own := range []error{e.Stdout.Own, e.Stderr.Own, e.Stdin.Own} {
		if own != nil {
			return exit, own
		}
	}
	return exit, nil
}
