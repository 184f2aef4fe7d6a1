package berth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Cmd is a command to run in a session, in the shape of os/exec's. It is prepared by Session.Command, run once, and
// used by one goroutine at a time.
type Cmd struct {
	// Args holds the program and its arguments. A program without a slash is looked up in the session's PATH.
	Args []string
	// Env holds "key=value" entries that are added to the session's environment; the last of equal keys wins.
	Env []string
	// Dir is where it runs. "" = the checkout; a relative path is relative to it.
	Dir string

	// Stdin, Stdout and Stderr work as in os/exec: nil is /dev/null; what nobody reads is held back in the program,
	// not buffered; Stdout and Stderr that are equal share one stream, and are written by one goroutine at a time.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// WaitDelay bounds how long Wait waits for the streams after the program has ended or the context is done: a
	// child may hold them open. 0 = without bound.
	WaitDelay time.Duration

	// ExitCode is the exit code once Wait has returned: -1 if a signal ended it, or if it is not known.
	ExitCode int

	ctx     context.Context
	s       *Session
	started bool
	waited  bool
	process orchestrator.Process
	stop    func()        // ends the renewal of the session's lease
	done    chan struct{} // closed when exit and err are set
	exit    agent.Exit
	err     error
	killed  chan struct{} // closed when nothing is left to be killed
	pipes   []io.Closer   // our ends to close after the command has ended
	remote  []io.Closer   // its ends to close then
}

// An ExitError says that a command ran and did not succeed.
type ExitError struct {
	Code   int    // the exit code; -1 if a signal ended it
	Signal int    // the signal's number; 0 if it exited
	Stderr []byte // the end of its stderr, at most 32 KiB, if Output ran it and Stderr was nil
}

func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("signal %d", e.Signal)
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// ExitCode returns Code, so that code written for os/exec's ExitError reads on.
func (e *ExitError) ExitCode() int { return e.Code }

// Command prepares a command to run in the session, as os/exec.CommandContext does. When ctx ends, the command is
// killed with everything that it started. While it runs, it renews the session's lease.
func (s *Session) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Args: append([]string{name}, args...), ExitCode: -1, ctx: ctx, s: s}
}

// Run starts the command and waits for its end. *ExitError: it did not succeed.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Start starts the command. The error says so when the program or the directory is not there (agent.ErrNotExecutable),
// or when the session has ended. Wait must follow a successful Start.
func (c *Cmd) Start() error {
	if c.started {
		return errors.New("berth: the command was started before")
	}
	c.started = true
	err := c.start()
	if err != nil {
		closeAll(c.remote)
		closeAll(c.pipes)
	}
	return err
}

func (c *Cmd) start() error {
	if err := c.ctx.Err(); err != nil {
		return context.Cause(c.ctx)
	}
	if err := c.s.p.enter(); err != nil {
		return err
	}
	defer c.s.p.calls.Done()
	inside, record, err := c.s.inside(c.ctx)
	if err != nil {
		return err
	}
	c.stop = c.s.p.using(record)
	startCtx, cancel := context.WithTimeout(c.ctx, startTimeout)
	defer cancel()
	c.process, err = inside.Start(startCtx, agent.Command{
		Session: c.s.id, Args: c.Args, Env: c.Env, Dir: c.Dir,
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, WaitDelay: c.WaitDelay,
	})
	if err != nil {
		c.stop()
		return c.s.because(c.ctx, fmt.Errorf("session %s: %q: %w", c.s.id, c.Args[0], err))
	}
	c.done, c.killed = make(chan struct{}), make(chan struct{})
	go c.killOnCancel()
	go c.finish()
	return nil
}

// finish waits for the command, so that its pipes see their end also before Wait is called.
func (c *Cmd) finish() {
	defer close(c.done)
	c.exit, c.err = c.process.Wait()
	closeAll(c.remote)
	c.stop()
}

// startTimeout bounds the start of a command.
const startTimeout = time.Minute

// killTimeout bounds the kill of a command whose context ended.
const killTimeout = 30 * time.Second

func (c *Cmd) killOnCancel() {
	defer close(c.killed)
	select {
	case <-c.done:
		return
	case <-c.ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), killTimeout)
	defer cancel()
	if err := c.process.Kill(ctx); err != nil && !errors.Is(err, agent.ErrGone) && !errors.Is(err, agent.ErrClosed) {
		c.s.p.failed("cannot kill a command", err, "session", c.s.id)
	}
}

// Wait returns when the command has ended and its streams are copied. *ExitError: it did not succeed. The cause of
// the context, when that ended it. When the session ended under it, the error says why.
func (c *Cmd) Wait() error {
	switch {
	case c.process == nil:
		return errors.New("berth: the command was not started")
	case c.waited:
		return errors.New("berth: Wait was called before")
	}
	c.waited = true
	<-c.done
	<-c.killed
	closeAll(c.pipes)
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
	// A process that a signal ended may have died with its session, whose end is stored before anything is killed.
	r, rerr := s.p.find(context.WithoutCancel(ctx), s.id)
	if rerr == nil && r != nil && r.State != store.SessionActive && r.End.Reason != "" {
		return fmt.Errorf("session %s: %w", s.id, endError(r))
	}
	return err
}

// Output runs the command and returns its standard output. If Stderr is nil, an *ExitError holds the end of its
// standard error.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("berth: Stdout is set already")
	}
	var out bytes.Buffer
	c.Stdout = &out
	var tail *tailWriter
	if c.Stderr == nil {
		tail = new(tailWriter)
		c.Stderr = tail
	}
	err := c.Run()
	if failure, ok := errors.AsType[*ExitError](err); ok && tail != nil {
		failure.Stderr = tail.bytes
	}
	return out.Bytes(), err
}

// CombinedOutput runs the command and returns its standard output and standard error, in the order in which they were
// written.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("berth: Stdout or Stderr is set already")
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// StdinPipe returns a pipe to the command's standard input. Closing it is the input's end; Wait closes it too.
func (c *Cmd) StdinPipe() (io.WriteCloser, error) {
	if c.Stdin != nil || c.started {
		return nil, errors.New("berth: Stdin is set already, or the command is started")
	}
	r, w := io.Pipe()
	c.Stdin = r
	c.pipes, c.remote = append(c.pipes, w), append(c.remote, r)
	return w, nil
}

// StdoutPipe returns a pipe from the command's standard output. Read it to its end before Wait, or concurrently: what
// nobody reads holds the command back. Unlike os/exec, the pipe may be read after Wait has been called.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) {
	if c.Stdout != nil || c.started {
		return nil, errors.New("berth: Stdout is set already, or the command is started")
	}
	r, w := io.Pipe()
	c.Stdout = w
	c.remote = append(c.remote, w)
	return r, nil
}

// StderrPipe is StdoutPipe for standard error.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) {
	if c.Stderr != nil || c.started {
		return nil, errors.New("berth: Stderr is set already, or the command is started")
	}
	r, w := io.Pipe()
	c.Stderr = w
	c.remote = append(c.remote, w)
	return r, nil
}

func closeAll(closers []io.Closer) {
	for _, c := range closers {
		c.Close()
	}
}

// tailWriter keeps the end of what is written.
type tailWriter struct {
	mu    sync.Mutex
	bytes []byte
}

const maxTail = 32 << 10

func (t *tailWriter) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes = append(t.bytes, b...)
	if over := len(t.bytes) - maxTail; over > 0 {
		t.bytes = append(t.bytes[:0], t.bytes[over:]...)
	}
	return len(b), nil
}
