package berth

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// A streamError is the error of one of the caller's own streams, as it comes back from the Process: the program's end is
// known all the same, and its other streams are whole.
type streamError struct{ error }

// Unwrap returns the stream's own error.
func (e *streamError) Unwrap() error { return e.error }

// broken notes that one of the caller's streams has failed, if it is the first, and returns what the Process is told.
func (c *Cmd) broken(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault == nil {
		c.fault = err
	}
	return &streamError{err}
}

// hungUp is what the Process is told when a pipe is read no more. To close it early is the caller's right, as in
// os/exec: what the program makes of it shows in its exit. A pipe that the end of the context has closed is cut off.
func (c *Cmd) hungUp() error {
	if c.cut.Load() {
		return c.broken(context.Cause(c.ctx))
	}
	return &streamError{io.ErrClosedPipe}
}

// firstFault returns the error of the first of the caller's streams that has failed.
func (c *Cmd) firstFault() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}

// source returns Stdin for the Process, and what is to be called once that is there. A file goes through a pipe that ends
// with the program: nobody else's Read blocks for longer, and os/exec does not wait for it either.
func (c *Cmd) source() (stdin io.Reader, copyFile func()) {
	copyFile = func() {}
	switch r := c.Stdin.(type) {
	case nil:
		return nil, copyFile
	case *os.File:
		end, w := io.Pipe()
		c.stdin, c.pipes = w, append(c.pipes, end)
		copyFile = func() {
			go func() { // ends with the file, or with its first Read after the program has ended
				_, err := io.Copy(w, r)
				w.CloseWithError(err)
			}()
		}
		return source{end, c}, copyFile
	default:
		return source{r, c}, copyFile
	}
}

// source is Stdin as the Process reads it.
type source struct {
	r io.Reader
	c *Cmd
}

func (s source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = s.c.broken(err)
	}
	return n, err
}

// gates puts a gate before each Writer, and one before a Writer that is both.
func (c *Cmd) gates() (stdout, stderr io.Writer) {
	if c.Stdout != nil {
		stdout = c.gate(c.Stdout)
	}
	switch {
	case c.Stderr == nil:
	case sameWriter(c.Stdout, c.Stderr):
		stderr = stdout
	default:
		stderr = c.gate(c.Stderr)
	}
	return stdout, stderr
}

func (c *Cmd) gate(w io.Writer) *gate {
	g := &gate{c: c, w: w, busy: make(chan struct{}, 1)}
	if end, ok := w.(*io.PipeWriter); ok {
		g.pipe = slices.Contains(c.pipes, pipeEnd(end))
	}
	c.output = append(c.output, g)
	return g
}

func (c *Cmd) shutOutput() {
	for _, g := range c.output {
		g.shut()
	}
}

// sameWriter reports whether two writers are one. Values that cannot be compared are not.
func sameWriter(a, b io.Writer) (same bool) {
	defer func() {
		if recover() != nil {
			same = false
		}
	}()
	return a == b
}

// A gate passes on what is written until it is shut: a caller may use its Writer again once Wait has returned, also
// when Wait did not wait for the streams.
type gate struct {
	c      *Cmd
	w      io.Writer
	pipe   bool          // w is the command's end of StdoutPipe or StderrPipe
	busy   chan struct{} // filled while somebody writes
	closed atomic.Bool
}

func (g *gate) Write(b []byte) (int, error) {
	g.busy <- struct{}{}
	defer func() { <-g.busy }()
	if g.closed.Load() {
		return 0, g.c.hungUp()
	}
	n, err := g.w.Write(b)
	switch {
	case err == nil:
		return n, nil
	case g.pipe && errors.Is(err, io.ErrClosedPipe):
		return n, g.c.hungUp()
	}
	return n, g.c.broken(err)
}

// lastWrite is how long a Write that is under way is waited for. One that blocks goes on.
const lastWrite = 100 * time.Millisecond

func (g *gate) shut() {
	g.closed.Store(true)
	t := time.NewTimer(lastWrite)
	defer t.Stop()
	select {
	case g.busy <- struct{}{}:
		<-g.busy
	case <-t.C:
	}
}
