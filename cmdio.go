package berth

import (
	"context"
	"errors"
	"io"
	"sync"
)

// pipeEnd is an end of an io.Pipe; it can be compared.
type pipeEnd interface{ CloseWithError(error) error }

// StdinPipe returns a pipe to the command's standard input. Closing it is the input's end; the program's end closes it
// too, whether Wait was called or not. Unlike os/exec's, the pipe holds nothing: a Write before Start waits for Start, and
// every Write until it has been read.
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
// nobody reads holds the command back. Unlike os/exec, the pipe may be read after Wait has been called. It ends with
// io.EOF when all that was written has been read, and else with the reason, such as ErrContainerLost. When the command's
// context has ended, what it had written can be read for about a second; then the pipe gives the context's cause. To
// close it early does not make Wait fail: what the program still writes is refused, as by any pipe.
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

// cutOff ends the pipes because the context has ended: what is not yet in them does not arrive.
func (c *Cmd) cutOff() {
	c.cut.Store(true)
	c.endPipes(context.Cause(c.ctx))
}

// endPipes closes the command's ends of its pipes, unless that was done before. nil = their end was reached; else it is
// what their readers get, who would take an io.EOF for the end of a whole output.
func (c *Cmd) endPipes(cause error) {
	for _, end := range c.pipes {
		end.CloseWithError(cause)
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
