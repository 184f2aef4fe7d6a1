package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
)

// streams are the streams of one command, between the caller and the Process.
type streams struct {
	ctx            context.Context // the command's
	stdin          *io.PipeWriter  // the writer's end of InputPipe, or of the pipe of a file; nil = there is none
	pipes          []pipeEnd       // the command's ends of its pipes
	stdout, stderr *gate           // nil = there is no Writer; stderr is nil, too, if both are one stream

	cut   atomic.Bool                 // the end of the context has closed the pipes
	fault atomic.Pointer[streamError] // of Stdin; nil = it has not failed
}

// A streamError is the error of one of the caller's own streams, which the Process returns. It says nothing of the
// program's exit, which is known, or of the other streams, which are whole.
type streamError struct{ error }

// Unwrap returns the stream's own error.
func (e *streamError) Unwrap() error { return e.error }

// input returns Stdin for the Process, and a function to call when the Process is there. A file is copied to a pipe that
// ends with the program: a Read that blocks does not hold up Wait, as in os/exec. Another Reader's does.
func (s *streams) input(stdin io.Reader) (r io.Reader, copyFile func()) {
	copyFile = func() {}
	switch file := stdin.(type) {
	case nil:
		return nil, copyFile
	case *os.File:
		end, w := s.InputPipe()
		copyFile = func() {
			go func() { // ends with the file, or with its first Read after the program has ended
				_, err := io.Copy(w, file)
				w.CloseWithError(err)
			}()
		}
		stdin = end
	}
	return source{stdin, s}, copyFile
}

// A source is Stdin as the Process reads it.
type source struct {
	r io.Reader
	s *streams
}

func (s source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	fault := &streamError{err}
	s.s.fault.Store(fault)
	return n, fault
}

// InputEnded is called when no more is read from the source. A Write to the pipe fails from then on.
func (s source) InputEnded() { s.s.endInput() }

// inputFault returns the error of Stdin; nil = it has not failed.
func (s *streams) inputFault() error {
	if fault := s.fault.Load(); fault != nil {
		return fault.error
	}
	return nil
}

// endInput ends the pipe to the program, which reads no more.
func (s *streams) endInput() {
	if s.stdin != nil {
		s.stdin.Close()
	}
}

// output returns Stdout and Stderr for the Process: a gate before each Writer, or one gate if both are the same Writer.
func (s *streams) output(stdout, stderr io.Writer) (toStdout, toStderr io.Writer) {
	if stdout != nil {
		s.stdout = s.gate(stdout)
		toStdout = s.stdout
	}
	switch {
	case stderr == nil:
	case agent.SameWriter(stdout, stderr):
		toStderr = toStdout
	default:
		s.stderr = s.gate(stderr)
		toStderr = s.stderr
	}
	return toStdout, toStderr
}

// hasOutput reports whether the caller has given a Writer.
func (s *streams) hasOutput() bool { return s.stdout != nil || s.stderr != nil }

// endOutput ends the pipes of output that is whole. It returns why output was not delivered to its last byte; nil = it
// was. stdout and stderr say why the Process has not copied them to their ends.
func (s *streams) endOutput(stdout, stderr error) error {
	s.stdout.end(stdout)
	s.stderr.end(stderr)
	return cmp.Or(s.stdout.torn(stdout), s.stderr.torn(stderr))
}

// cutOff ends the pipes because the context has ended. Output that is not in them yet does not arrive.
func (s *streams) cutOff() {
	s.cut.Store(true)
	s.endPipes(fmt.Errorf("%w: %w", errs.ErrOutputCut, context.Cause(s.ctx)))
}

// shut keeps the Process from writing to the caller's Writers.
func (s *streams) shut() {
	for _, g := range []*gate{s.stdout, s.stderr} {
		if g != nil {
			g.shut()
		}
	}
}
