package berth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/command"
	"github.com/berth-go/berth/orchestrator"
)

// Cmd is a command to run in a session, in the shape of os/exec's. Session.Command prepares it. It is run once, and used
// by one goroutine at a time, apart from what says otherwise.
type Cmd struct {
	// Args holds the program and its arguments. A program without a slash is looked up in the session's PATH.
	Args []string
	// Env holds "key=value" entries that are added to the session's environment; the last of equal keys wins.
	Env []string
	// Dir is the working directory. "" = the checkout; a relative path is relative to it.
	Dir string

	// Stdin, Stdout and Stderr work as in os/exec: nil is /dev/null, and output that nobody reads is not buffered but holds
	// the program back. If Stdout and Stderr are equal, they share one stream, and one goroutine at a time writes to it.
	// Unlike in os/exec, an *os.File is not handed to the program: it is copied. Wait does not wait for a file as Stdin once
	// the program has ended: a Read that is under way then goes on, of a terminal for one more line. Input that was read
	// and that the program has not taken, at most 128 KiB, is lost. Wait waits for a file as Stdout or Stderr as for every
	// other Writer.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// TTY, unless nil, gives the program a terminal of that size, which is its controlling terminal. What is read from Stdin is
	// typed there, Stdout gets what the program shows, with both of its outputs in one, and Stderr is nil or equal to Stdout. As
	// at every terminal, lines that are shown end with "\r\n", and what is typed is shown too, unless the program changes that.
	// The end of Stdin types the character for the end of a file, Ctrl-D, if the program reads lines; a nil Stdin types nothing.
	// When the terminal is closed, as by closing a StdoutPipe, the program gets SIGHUP. TERM is xterm unless Env or the
	// session's environment has another one.
	TTY *TTYSize

	// Detached makes the command go on whatever becomes of this process: the context of Session.Command bounds the start only. Wait
	// returns when the command has ended, or with ErrClosed when the Provider is closed. The last 16 MiB of each output, or Keep
	// bytes if Keep is not 0, are kept on the session's disk, at most 256 MiB. So what reads too slowly does not hold the command back. It
	// misses what is dropped: then it gets nothing that comes later, and Wait's error is ErrOutputCut. Both outputs are kept also where
	// Stdout or Stderr is nil. Session.Attach gives the command again, in any process. Its output and its exit code
	// are kept until the session ends, until Delete, or until 100 later commands have ended; the oldest output goes when those that
	// have ended have more than 256 MiB together.
	Detached bool
	Keep     int64

	// StdoutFrom and StderrFrom are for a command of Session.Attach: the offsets in its outputs from which on Stdout and Stderr get
	// them. 0 is the beginning, and -N the last N bytes of what has been written by the time of Start. Start sets them to the offset
	// where they begin. If that is later because bytes have been dropped, Wait's error is ErrOutputCut.
	StdoutFrom, StderrFrom int64

	// WaitDelay bounds how long Wait waits for the streams after the program has ended: a child may hold them open, a
	// Reader or a Writer may block. 0 = without bound, as long as the context is not done. When it has passed, Wait's error
	// is exec.ErrWaitDelay if the program has succeeded, as in os/exec. If Stdout or Stderr has not ended by then, it is
	// ErrOutputCut too; both then also come with the *ExitError of a program that has failed, where os/exec gives that alone.
	// Once the context is done, Wait returns within WaitDelay or five seconds, whichever is longer, whatever the streams do
	// and even if the host cannot be reached. Afterwards nothing is written to Stdout and Stderr, except by a Write that was
	// under way.
	WaitDelay time.Duration

	// ExitCode is the exit code once Wait has returned: -1 if a signal ended the program, or if the code is not known.
	ExitCode int

	running *command.Command
	attach  string // the ID of the command that Start attaches; "" = it starts a new one
}

// An ExitError says that a command ran and did not succeed. If its output was also cut off, Wait's error is ErrOutputCut
// too: look for the ExitError with errors.As.
type ExitError struct {
	Code   int    // the exit code; -1 if a signal ended it
	Signal int    // the signal's number; 0 if it exited
	Stderr []byte // the end of its stderr, at most 32 KiB, if Output ran it and Stderr was nil
	// OutOfMemory says that the kernel killed a process of the session while the command ran, because memory was used up: the
	// command, or another process of the session. Without rooms it may have been a process of another session in the container.
	OutOfMemory bool
	// Reason says why berth ended all processes of the session, the command among them: they had used up something that
	// sessions share, such as the local ports of the container. "" = it did not. The session goes on.
	Reason string
}

func (e *ExitError) Error() string {
	text := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != 0 {
		text = fmt.Sprintf("signal %d", e.Signal)
	}
	if e.OutOfMemory {
		text += ": the session or its container ran out of memory while the command ran"
	}
	if e.Reason != "" {
		text += ": the session's processes were ended: " + e.Reason
	}
	return text
}

// Is makes an ExitError with OutOfMemory an ErrOutOfMemory.
func (e *ExitError) Is(target error) bool { return e.OutOfMemory && target == ErrOutOfMemory }

// ExitCode returns Code, for code that was written for os/exec's ExitError.
func (e *ExitError) ExitCode() int { return e.Code }

// exitError makes the error of a program that did not succeed.
func exitError(exit agent.Exit) error {
	return &ExitError{Code: exit.Code, Signal: exit.Signal, OutOfMemory: exit.OutOfMemory, Reason: exit.Reason}
}

// TTYSize is the size of a terminal in characters. Zero rows or columns mean that the program does not know the size.
type TTYSize struct{ Rows, Cols uint16 }

// ID returns what tells the command from all others in its session: see CommandInfo. "" = it was not started.
func (c *Cmd) ID() string { return c.running.ID() }

// Kill kills the command with everything that it has started, as the end of its context does. That is for commands that are Detached or
// attached. Errors are as for Signal.
func (c *Cmd) Kill() error { return c.running.Kill() }

// Delete kills the command as Kill does, if it runs, and drops what is kept of a Detached command's output: it cannot be attached
// any more. Errors are as for Signal, apart from os.ErrProcessDone.
func (c *Cmd) Delete() error { return c.running.Delete() }

// String returns the program and its arguments, as os/exec's does. It does not show Env, which may hold secrets.
func (c *Cmd) String() string { return strings.Join(c.Args, " ") }

// GoString returns String in a form that names the type.
func (c *Cmd) GoString() string { return fmt.Sprintf("berth.Cmd{Args:%q, …}", c.Args) }

// LogValue implements slog.LogValuer: it is String.
func (c *Cmd) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Command prepares a command to run in the session, as os/exec.CommandContext does. When ctx ends, the command is
// killed with everything that it started. While it runs, it renews the session's lease.
func (s *Session) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{
		Args: append([]string{name}, args...), ExitCode: -1,
		running: command.New(ctx, &commandHost{s: s}, exitError),
	}
}

// CommandInfo describes a command that runs in a session, or has ended, whichever process has started it.
type CommandInfo struct {
	ID string // as Cmd.ID has it
	// Args are the program and its arguments, as Cmd.Args had them. They may hold secrets: the container's agent keeps them in memory,
	// and berth neither stores nor logs them. Of a command with more than 256 arguments or 4 KiB of them, ArgsCut is true, and Args
	// is the beginning.
	Args    []string
	ArgsCut bool
	// Pid is the program's process, as the processes of the session see it. 0 = it is not known.
	Pid int
	// StartedAt and EndedAt are by the clock of this process, and as exact as the answer of the container's agent is fast. A zero EndedAt
	// means that the command runs.
	StartedAt, EndedAt time.Time
	ExitCode           int  // once it has ended; -1 before, and if a signal ended it
	Signal             int  // the number of the signal that ended it; 0 = none
	OutOfMemory        bool // see ExitError
	// Stdout and Stderr are how many bytes it has written, whether or not they have been read. If both are one stream, Stdout counts
	// it. What goes to /dev/null does not count.
	Stdout, Stderr int64
	Detached       bool // see Cmd; Session.Attach gives it again
}

// String returns the ID, without the arguments.
func (i CommandInfo) String() string { return "command " + i.ID }

// GoString is String.
func (i CommandInfo) GoString() string { return i.String() }

// LogValue implements slog.LogValuer: it is String.
func (i CommandInfo) LogValue() slog.Value { return slog.StringValue(i.String()) }

// Commands returns the commands of the session in the order of their starts: those that run, and the last ones that have ended, at most
// 100, and 64 KiB of their arguments. A command that could not be started is none. Each 100 of them are one question to the container's
// agent, which forgets them with the session. To ask does not renew the session's lease. An error comes with a zero CommandInfo, and
// ends the sequence. If the session has ended, it is that of Session.Err; ErrSessionStarting; ErrUnavailable: the agent has not answered
// for 30 s; errors.ErrUnsupported: the container runs an agent of an older version, which cannot tell.
func (s *Session) Commands(ctx context.Context) iter.Seq2[CommandInfo, error] {
	return func(yield func(CommandInfo, error) bool) {
		for after, last := uint64(0), false; !last; {
			var page []agent.CommandInfo
			err := (&commandHost{s: s}).ask(ctx, "list its commands", func(ctx context.Context, inside orchestrator.Inside) (err error) {
				page, err = inside.Commands(ctx, s.id, after)
				return err
			})
			if err != nil {
				yield(CommandInfo{}, err)
				return
			}
			for _, c := range page {
				info := CommandInfo{
					ID: c.ID, Args: c.Args, ArgsCut: c.ArgsCut, Pid: c.Pid, StartedAt: c.Started, EndedAt: c.Ended, ExitCode: c.Exit.Code,
					Signal: c.Exit.Signal, OutOfMemory: c.Exit.OutOfMemory, Stdout: c.Stdout, Stderr: c.Stderr,
					Detached: c.Detached,
				}
				if c.Ended.IsZero() {
					info.ExitCode = -1
				}
				if !yield(info, nil) {
					return
				}
				after = c.Seq
			}
			last = len(page) < agent.CommandPage
		}
	}
}

// Attach gives a command again that was started Detached, by this or by any other process of the pool; id is Cmd.ID or CommandInfo.ID. It
// takes no part of the command from others: any number may read its output at once.
//
// Before Start, set where the output goes (Stdout, Stderr, StdoutPipe and so on) and from which offset on (StdoutFrom, StderrFrom). Start
// begins to copy what is kept, and what comes. Wait returns how the command has ended, also long after its end. A Stdin takes the
// place of the Stdin that the command had before, whose copying ends. A command that was started without a Stdin and without a TTY
// takes none. If it has one stream for both outputs, as with a TTY, Stdout gets it.
// Args, Env, Dir and TTY have no effect. ctx is the Cmd's: when it ends, the copying ends, and the command goes on. While it is
// attached, a command renews the session's lease.
//
// agent.ErrUnknownCommand: the session has no command of that ID that was started Detached, or has forgotten it. Other errors are as
// for Dial.
func (s *Session) Attach(ctx context.Context, id string) (*Cmd, error) {
	for c, err := range s.Commands(ctx) {
		switch {
		case err != nil:
			return nil, err
		case c.ID == id && c.Detached:
			cmd := s.Command(ctx, c.Args[0], c.Args[1:]...)
			cmd.attach = id
			return cmd, nil
		}
	}
	return nil, fmt.Errorf("session %s: %w: %s", s.id, agent.ErrUnknownCommand, strconv.Quote(id))
}

// Run starts the command and waits for its end. *ExitError: it did not succeed. ErrOutputCut: its output is not whole. For
// the other errors, see Start and Wait.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Start starts the command. The error says if the program or the directory is not there (agent.ErrNotExecutable). If the
// session has ended, the error is that of Session.Err; if the store was set back to a time before that end, it is
// ErrContainerLost or ErrSessionNotFound. Start gives up when the container's agent has not answered for a minute: the
// error says that, and does not match the end of a context; once the agent can be reached, nothing of the command is left
// running. Wait must follow a successful Start.
func (c *Cmd) Start() error {
	return c.running.Start(command.Spec{
		Args: c.Args, Env: c.Env, Dir: c.Dir,
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, WaitDelay: c.WaitDelay,
		Terminal: (*agent.Size)(c.TTY), Detached: c.Detached, Keep: c.Keep,
		Attach: c.attach, StdoutFrom: &c.StdoutFrom, StderrFrom: &c.StderrFrom,
	})
}

// Signal sends a signal to the program, as os.Process.Signal does; sig is a syscall.Signal. It has been sent when Signal returns.
// What the program has started does not get it, unless the program passes it on: see SignalGroup. Signal may be used while
// another goroutine is in Wait. os.ErrProcessDone: the program has ended. Signal gives up when the container's agent has not answered
// for 30 s (ErrUnavailable); the program may have got the signal then. Other errors are as for Start. errors.ErrUnsupported: the
// container runs an agent of an older version, or sig is no signal of Linux.
func (c *Cmd) Signal(sig os.Signal) error { return c.running.Signal(sig, false) }

// SignalGroup is Signal for the program's process group: the program and what it has started, unless that has made a group or a
// session of its own. A shell without a terminal leaves all its children in its group. To end everything that a command has started,
// end its context.
func (c *Cmd) SignalGroup(sig os.Signal) error { return c.running.Signal(sig, true) }

// Resize sets the size of the terminal of a command that has a TTY. Its program gets SIGWINCH. Resize may be used while another
// goroutine is in Wait. Errors are as for Signal; a command without a TTY is one too.
func (c *Cmd) Resize(size TTYSize) error { return c.running.Resize(agent.Size(size)) }

// Wait returns when the command has ended and its streams are copied. Its error is the first of these:
//
//   - the cause of the context, if the end of the context ended the command; if the host cannot be reached then, the
//     command is killed once it can be;
//   - why the command's exit is not known: the session ended under it (ErrTerminated, ErrRevoked, ErrExpired, ErrOverLimit,
//     ErrContainerLost, ErrInstanceLost), or the Provider was closed (ErrClosed), and the command goes on;
//   - *ExitError: the program did not succeed. If the end of its session killed it, the reason for that end instead;
//   - the error of Stdin, if that failed, as in os/exec;
//   - exec.ErrWaitDelay: WaitDelay ended the copying of Stdin.
//
// Beside that, it is ErrOutputCut unless Stdout and Stderr have got all that was written to them: see there. A Writer
// that fails is one of the reasons, and its error stands beside ErrOutputCut. As in os/exec, the program may then die of
// SIGPIPE.
// So nil says that the command has succeeded and its output is whole. An *ExitError without ErrOutputCut says that it has
// failed and its output is whole. Stdin is no output: a command that ends by itself has read as much of it as it wanted.
//
// If the context or the session ends after the program, nothing of the above changes, unless the streams outlast that end
// by too much: see WaitDelay.
func (c *Cmd) Wait() (err error) {
	c.ExitCode, err = c.running.Wait()
	return err
}

// Output runs the command and returns its standard output, as far as it came: it is whole unless the error is
// ErrOutputCut or the command was not started. If Stderr is nil, an *ExitError holds the end of its standard error.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("berth: Stdout is set already")
	}
	var out bytes.Buffer
	c.Stdout = &out
	var tail *command.Tail
	if c.Stderr == nil && c.TTY == nil {
		tail = new(command.Tail)
		c.Stderr = tail
	}
	err := c.Run()
	if failure, ok := errors.AsType[*ExitError](err); ok && tail != nil {
		failure.Stderr = tail.Bytes()
	}
	return out.Bytes(), err
}

// CombinedOutput runs the command and returns its standard output and standard error, in the order in which they were
// written, as far as they came: see Output.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("berth: Stdout or Stderr is set already")
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// StdinPipe returns a pipe to the command's standard input. Closing it is the input's end. The program's end closes it
// too, whether Wait was called or not. Unlike os/exec's, the pipe holds nothing: a Write before Start waits for Start, and
// every Write waits until its bytes have been read. Once the program reads no more, or another Attach has taken the input, a Write
// fails with io.ErrClosedPipe.
func (c *Cmd) StdinPipe() (io.WriteCloser, error) {
	if c.Stdin != nil || c.running.Started() {
		return nil, errors.New("berth: Stdin is set already, or the command is started")
	}
	r, w := c.running.InputPipe()
	c.Stdin = r
	return w, nil
}

// StdoutPipe returns a pipe from the command's standard output. Read it to its end before Wait, or concurrently: output
// that nobody reads holds the command back. Unlike os/exec's, the pipe may be read after Wait has been called. It ends
// with io.EOF only when all that was written has been read. Otherwise it ends with ErrOutputCut and the reason, such as
// ErrContainerLost. When the command's context has ended, the output that was written before can be read for about a
// second; then the reason is the context's cause. Closing the pipe early does not make Wait fail: what the program still
// writes is refused, as by any pipe.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) {
	if c.Stdout != nil || c.running.Started() {
		return nil, errors.New("berth: Stdout is set already, or the command is started")
	}
	r, w := c.running.OutputPipe()
	c.Stdout = w
	return r, nil
}

// StderrPipe is StdoutPipe for standard error.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) {
	if c.Stderr != nil || c.running.Started() {
		return nil, errors.New("berth: Stderr is set already, or the command is started")
	}
	r, w := c.running.OutputPipe()
	c.Stderr = w
	return r, nil
}
