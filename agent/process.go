package agent

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// A Process is a command that was started.
type Process struct {
	c      *Client
	id     string // of the command
	path   string
	delay  time.Duration
	onEnd  func(exit Exit, lost error) // Command.Ended
	ctx    context.Context             // ends when the copying of the streams is to end
	cancel context.CancelCauseFunc

	ended chan struct{} // closed when exit and err are set
	exit  Exit
	err   error

	stdin, stdout, stderr *stream // nil = not copied
	writer                string  // of stdin; "" = the command's first
	keeps                 bool    // the agent keeps the command after its end
}

// longPoll bounds a request that the agent may hold.
const longPoll = wire.Poll + 25*time.Second

// short bounds a request that the agent answers at once.
const short = 30 * time.Second

// Start runs a command in a session. ctx bounds the start only: once Start has returned, Kill ends the command. If ctx ends
// first, nothing of the command is left running: the client tells the agent to kill it as soon as there is a connection,
// unless the client is closed before.
//
// Start returns ErrUnknownSession if the session is not open, ErrNotExecutable if the program cannot be run, and
// errors.ErrUnsupported if the agent is too old for a Terminal, for Detached, to serve files, or for Work.
func (c *Client) Start(ctx context.Context, cmd Command) (*Process, error) {
	shared := SameWriter(cmd.Stdout, cmd.Stderr)
	if cmd.Terminal != nil && cmd.Stderr != nil && !shared {
		return nil, errOneOutput
	}
	if err := serves(ctx, c, cmd); err != nil {
		return nil, err
	}
	start := startOf(cmd, shared)
	id := rand.Text()
	path := "commands/" + id
	post := path
	if cmd.Detached || cmd.Terminal != nil {
		post = path + "/start"
	}
	body, err := json.Marshal(start)
	if err != nil {
		return nil, err
	}
	p := &Process{c: c, id: id, path: path, delay: cmd.WaitDelay, onEnd: cmd.Ended, ended: make(chan struct{}), keeps: cmd.Detached}
	if err := c.do(ctx, request{method: http.MethodPost, path: post, body: body, timeout: longPoll}); err != nil {
		if ctx.Err() != nil {
			c.abandon(p.path)
		}
		return nil, err
	}
	p.ctx, p.cancel = context.WithCancelCause(c.ctx)
	if !c.spawn(p.awaitExit) {
		p.cancel(ErrClosed)
		return nil, ErrClosed
	}
	if cmd.Stdout != nil {
		p.stdout = p.copyOut("stdout", cmd.Stdout, 0, nil)
	}
	if cmd.Stderr != nil && !shared {
		p.stderr = p.copyOut("stderr", cmd.Stderr, 0, nil)
	}
	if cmd.Stdin != nil {
		p.stdin = p.copyIn(cmd.Stdin)
	}
	return p, nil
}

// startOf returns the request that starts a command. shared: its output and its errors go to the same writer.
func startOf(cmd Command, shared bool) wire.Start {
	start := wire.Start{
		Session: cmd.Session, Args: bytesOf(cmd.Args), Env: bytesOf(cmd.Env), Dir: []byte(cmd.Dir),
		Stdin: cmd.Stdin != nil, Stdout: cmd.Stdout != nil, Files: cmd.Files, Hidden: cmd.Hidden, Work: string(cmd.Work),
	}
	switch {
	case shared:
		start.Stderr = "stdout"
	case cmd.Stderr != nil:
		start.Stderr = "pipe"
	}
	if cmd.Detached { // others may want the streams that this caller does not
		start.Detached, start.Keep, start.Stdout = true, cmd.Keep, true
		start.Stdin = cmd.Stdin != nil || cmd.Terminal != nil
		if !shared {
			start.Stderr = "pipe"
		}
	}
	if cmd.Terminal != nil {
		start.Terminal, start.Stderr = (*wire.Size)(cmd.Terminal), ""
	}
	return start
}

// ID returns what tells the command from all others: see Client.Commands.
func (p *Process) ID() string { return p.id }

// abandon kills a command that may have been started, and forgets it. No other client knows it, so only the client's end
// bounds the attempt: there may be no connection for long.
func (c *Client) abandon(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.last.Go(func() {
		c.untilDead(c.ctx, http.MethodDelete, path+"?kill=1")
	})
}

// Wait returns when the command has ended and its streams are copied, when Command.WaitDelay has passed since the command
// ended, or when the client has ended. The error is not about the exit code:
//
//   - nil: Stdout and Stderr got all output, and the program got as much of Stdin as it read.
//   - *CutError: the exit is known, and a stream was not copied to its end.
//   - ErrGone, ErrClosed, ErrIncompatible or another reason: the exit is not known, nor whether the output is whole.
//   - The error of the caller's own Reader or Writer: the exit is known, and the other streams are whole.
//
// As in os/exec, a Stdin whose Read blocks keeps Wait from returning. Call Wait once.
func (p *Process) Wait() (Exit, error) {
	<-p.ended
	if p.err != nil {
		p.cancel(p.err) // first: the program may go on, and is not told that its input ends because onEnd ends the caller's
	}
	if p.onEnd != nil {
		p.onEnd(p.exit, p.err)
	}
	if p.err != nil {
		return Exit{}, p.err
	}
	pending := p.awaitStreams()
	exit, err := Ends{
		Stdin: p.stdin.ended(pending), Stdout: p.stdout.ended(pending), Stderr: p.stderr.ended(pending),
	}.Outcome(p.exit, nil)
	p.cancel(context.Canceled)
	if !p.keeps {
		p.c.afterwards(http.MethodDelete, p.path)
	}
	return exit, err
}

// awaitStreams waits for the ends of the streams. Its error says why it stopped waiting.
func (p *Process) awaitStreams() error {
	var late <-chan time.Time
	if p.delay > 0 {
		t := time.NewTimer(p.delay)
		defer t.Stop()
		late = t.C
	}
	for _, s := range []*stream{p.stdout, p.stderr, p.stdin} {
		if s == nil {
			continue
		}
		select {
		case <-s.over:
		case <-late:
			return exec.ErrWaitDelay
		case <-p.c.done:
			return p.c.Err()
		}
	}
	return nil
}

// Kill ends the command and every process that it started, including those that left its process group. It returns when they
// are dead. Killing a command that has ended succeeds.
func (p *Process) Kill(ctx context.Context) error {
	err := p.c.untilDead(ctx, http.MethodPost, p.path+"/kill")
	if unknownCommand(err) {
		return nil
	}
	return err
}

// untilDead repeats a request to kill until the agent says that all are dead.
func (c *Client) untilDead(ctx context.Context, method, path string) error {
	for {
		alive := false
		err := c.do(ctx, request{method: method, path: path, timeout: longPoll, read: func(r *http.Response) error {
			alive = r.StatusCode == http.StatusAccepted
			return nil
		}})
		if err != nil || !alive {
			return err
		}
	}
}

// awaitExit asks until the command has ended.
func (p *Process) awaitExit() {
	defer close(p.ended)
	for {
		var exit *wire.Exit
		err := p.c.do(p.ctx, request{method: http.MethodGet, path: p.path + "/exit", answer: &exit, timeout: longPoll})
		switch {
		case err != nil:
			p.err = p.explain(err)
			return
		case exit != nil:
			p.exit = Exit(*exit)
			return
		}
	}
}

// explain returns why the client has ended, or else the error of the request.
func (p *Process) explain(err error) error {
	if gone := context.Cause(p.ctx); gone != nil {
		return gone
	}
	return fmt.Errorf("waiting for a command: %w", err)
}

func bytesOf(ss []string) [][]byte {
	bs := make([][]byte, len(ss))
	for i, s := range ss {
		bs[i] = []byte(s)
	}
	return bs
}

// SameWriter reports whether two writers are equal. Values that cannot be compared are not equal. A [Command] has one stream
// for both outputs if its Stdout and Stderr are the same.
func SameWriter(a, b io.Writer) (same bool) {
	defer func() {
		if recover() != nil {
			same = false
		}
	}()
	return a != nil && a == b
}

// Errors of a stream.
var (
	errBodyLength = errors.New("the agent's answer has no length, or is longer than was asked for")
	errDropped    = errors.New("the agent does not hold the command's output any more")
	errTooMuch    = errors.New("the agent sends more than it may")
	errLostCount  = errors.New("the agent has lost count of stdin")
	errOneOutput  = errors.New("a terminal has one output: Stderr must be nil or Stdout")
)
