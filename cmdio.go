package berth

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// pipeEnd is an end of an io.Pipe.
type pipeEnd interface{ CloseWithError(error) error }

// StdinPipe returns a pipe to the command's standard input. Closing it is the input's end; the program's end closes it
// too, whether Wait was called or not.
func (c *Cmd) StdinPipe() (io.WriteCloser, error) {
	if c.Stdin != nil || c.started {
		return nil, errors.New("berth: Stdin is set already, or the command is started")
	}
	r, w := io.Pipe()
	c.Stdin, c.stdin = r, w
	c.pipes = append(c.pipes, r)
	return w, nil
}

// StdoutPipe returns a pipe from the command's standard output. Read it to its end before Wait, or concurrently: what
// nobody reads holds the command back. Unlike os/exec, the pipe may be read after Wait has been called. When the
// command's context has ended, what it had written can be read for about a second; then the pipe gives the context's
// cause.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) {
	if c.Stdout != nil || c.started {
		return nil, errors.New("berth: Stdout is set already, or the command is started")
	}
	r, w := io.Pipe()
	c.Stdout = w
	c.pipes = append(c.pipes, w)
	return r, nil
}

// StderrPipe is StdoutPipe for standard error.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) {
	if c.Stderr != nil || c.started {
		return nil, errors.New("berth: Stderr is set already, or the command is started")
	}
	r, w := io.Pipe()
	c.Stderr = w
	c.pipes = append(c.pipes, w)
	return r, nil
}

// endInput is the end of what StdinPipe carries: the command reads no more.
func (c *Cmd) endInput() {
	if c.stdin != nil {
		c.stdin.Close()
	}
}

// endPipes closes the command's ends of its pipes, unless that was done before. nil = their end was reached.
func (c *Cmd) endPipes(cause error) {
	for _, end := range c.pipes {
		end.CloseWithError(cause)
	}
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
	g := &gate{w: w, busy: make(chan struct{}, 1)}
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
	w      io.Writer
	busy   chan struct{} // filled while somebody writes
	closed atomic.Bool
}

func (g *gate) Write(b []byte) (int, error) {
	g.busy <- struct{}{}
	defer func() { <-g.busy }()
	if g.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	return g.w.Write(b)
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

// tailWriter keeps the end of what is written.
type tailWriter struct {
	mu    sync.Mutex
	bytes []byte // at most twice what is kept, so that it is seldom cut
}

const maxTail = 32 << 10

func (t *tailWriter) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := b[max(0, len(b)-maxTail):]
	if len(t.bytes)+len(kept) > 2*maxTail {
		t.bytes = append(t.bytes[:0], t.bytes[len(t.bytes)-maxTail:]...)
	}
	t.bytes = append(t.bytes, kept...)
	return len(b), nil
}

// end returns what is kept.
func (t *tailWriter) end() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes[max(0, len(t.bytes)-maxTail):]
}
