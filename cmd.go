package berth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
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
	// not buffered; Stdout and Stderr that are equal share one stream, and are written by one goroutine at a time. But an
	// *os.File is not handed to the program, it is copied. As a Stdin, it is not waited for when the program has ended: a
	// Read that is under way then goes on, of a terminal for one more line, and what the program has not taken of what
	// was read, at most 32 KiB, is lost. As a Stdout or Stderr, it is waited for like every other Writer.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// WaitDelay bounds how long Wait waits for the streams after the program has ended: a child may hold them open, a
	// Reader or a Writer may block. 0 = without bound, as long as the context is not done. Once it is, Wait returns
	// within WaitDelay or five seconds, whichever is longer, whatever the streams do and even if the host cannot be
	// reached; nothing is written to Stdout and Stderr afterwards but by a Write that was under way.
	WaitDelay time.Duration

	// ExitCode is the exit code once Wait has returned: -1 if a signal ended it, or if it is not known.
	ExitCode int

	ctx     context.Context
	s       *Session
	started bool
	waited  bool
	process orchestrator.Process
	stop    func()        // ends the renewal of the session's lease, once; a second call does not wait for the first
	over    atomic.Bool   // the program has ended, or it will never be known when; its streams may go on
	killed  atomic.Bool   // its context ended before the program did
	ended   chan struct{} // closed when code and err are set
	code    int           // for ExitCode
	err     error         // for Wait
	done    chan struct{} // closed when, after that, the session's lease is renewed for the last time
	settled chan struct{} // closed when Wait need not wait any longer: done is closed, or the context's end was long ago

	stdin  *io.PipeWriter // of StdinPipe, or of a Stdin that is a file; closed when the program has ended. nil without one
	pipes  []pipeEnd      // the command's ends of its pipes
	output []*gate        // what its output goes through
	cut    atomic.Bool    // the end of the context has closed its pipes

	mu    sync.Mutex // protects what follows
	fault error      // of the first of the caller's streams that has failed
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
// or when the session has ended. It gives up when the container's agent has not answered for a minute: then the error
// says that, and is no end of the context; nothing of the command is left running once the agent can be reached. Wait
// must follow a successful Start.
func (c *Cmd) Start() error {
	if c.started {
		return errors.New("berth: the command was started before")
	}
	c.started = true
	err := c.start()
	if err != nil {
		c.endInput()
		c.endPipes(err)
	}
	return err
}

func (c *Cmd) start() error {
	if len(c.Args) == 0 {
		return fmt.Errorf("session %s: %w: Cmd.Args names no program", c.s.id, agent.ErrNotExecutable)
	}
	if err := c.ctx.Err(); err != nil {
		return context.Cause(c.ctx)
	}
	if err := c.s.p.enter(); err != nil {
		return err
	}
	defer c.s.p.calls.Done()
	inside, record, err := c.s.inside(c.ctx)
	if err != nil {
		return c.s.orClosed(c.ctx, err)
	}
	stop, stopped := c.s.p.using(record), new(atomic.Bool)
	c.stop = func() {
		if stopped.CompareAndSwap(false, true) {
			stop()
		}
	}
	startCtx, cancel := context.WithTimeoutCause(c.ctx, startTimeout, errNoAnswer)
	defer cancel()
	stdin, copyFile := c.source()
	stdout, stderr := c.gates()
	c.process, err = inside.Start(startCtx, agent.Command{
		Session: c.s.id, Args: c.Args, Env: c.Env, Dir: c.Dir,
		Stdin: stdin, Stdout: stdout, Stderr: stderr, WaitDelay: c.WaitDelay, Ended: c.programEnded,
	})
	if err != nil {
		c.stop()
		if c.ctx.Err() == nil && startCtx.Err() != nil && !errors.Is(err, errNoAnswer) {
			err = fmt.Errorf("%w: %v", errNoAnswer, err) // %v: the context that ended is not the caller's
		}
		err = c.s.because(c.ctx, fmt.Errorf("session %s: %q: %w", c.s.id, c.Args[0], err))
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		return err
	}
	copyFile()
	c.ended, c.done, c.settled = make(chan struct{}), make(chan struct{}), make(chan struct{})
	c.s.p.loops.Go(c.watch) // both end soon after the Inside that Close ends
	c.s.p.loops.Go(c.finish)
	return nil
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
		failure.Stderr = tail.end()
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
