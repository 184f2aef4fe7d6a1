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
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// A Process is a command that was started.
type Process struct {
	c      *Client
	path   string
	delay  time.Duration
	told   func()          // Command.Ended
	ctx    context.Context // ends when its streams are not copied any longer
	cancel context.CancelCauseFunc

	ended chan struct{} // closed when exit and err are set
	exit  Exit
	err   error

	copies  sync.WaitGroup // one per stream
	mu      sync.Mutex     // protects what follows
	failure error          // of the first stream that failed
}

// longPoll bounds a request that the agent may hold.
const longPoll = wire.Poll + 25*time.Second

// short bounds a request that it answers at once.
const short = 30 * time.Second

// Start runs a command in a session. ctx bounds the start only: once Start has returned, Kill ends the command. If
// ctx ends first, nothing of the command is left running: what was started is killed as soon as the agent can be told,
// unless the client is closed before that.
//
// ErrUnknownSession: the session is not open. ErrNotExecutable: the program cannot be run.
func (c *Client) Start(ctx context.Context, cmd Command) (*Process, error) {
	shared := sameWriter(cmd.Stdout, cmd.Stderr)
	start := wire.Start{
		Session: cmd.Session, Args: bytesOf(cmd.Args), Env: bytesOf(cmd.Env), Dir: []byte(cmd.Dir),
		Stdin: cmd.Stdin != nil, Stdout: cmd.Stdout != nil,
	}
	switch {
	case shared:
		start.Stderr = "stdout"
	case cmd.Stderr != nil:
		start.Stderr = "pipe"
	}
	body, err := json.Marshal(start)
	if err != nil {
		return nil, err
	}
	p := &Process{c: c, path: "commands/" + rand.Text(), delay: cmd.WaitDelay, told: cmd.Ended, ended: make(chan struct{})}
	if err := c.do(ctx, request{method: http.MethodPost, path: p.path, body: body, timeout: longPoll}); err != nil {
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
		p.copyOut("stdout", cmd.Stdout)
	}
	if cmd.Stderr != nil && !shared {
		p.copyOut("stderr", cmd.Stderr)
	}
	if cmd.Stdin != nil {
		p.copyIn(cmd.Stdin)
	}
	return p, nil
}

// abandon kills a command that may have been started, and forgets it. Nobody else knows of it, so that nothing but the
// client's end bounds the attempt: the connection may be away for long.
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

// Wait returns when the command has ended and its streams are copied. The error is not about the exit code: it is
// ErrGone or ErrClosed, a stream that failed, or exec.ErrWaitDelay when the streams did not end in
// Command.WaitDelay. As in os/exec, a Stdin whose Read blocks keeps it until then. It may be called once.
func (p *Process) Wait() (Exit, error) {
	<-p.ended
	if p.told != nil {
		p.told()
	}
	if p.err != nil {
		p.cancel(p.err)
		return Exit{}, p.err
	}
	copied := make(chan struct{})
	go func() { // ends with the copying, which ends with p.ctx, or when the caller's Reader or Writer lets it
		p.copies.Wait()
		close(copied)
	}()
	var late <-chan time.Time
	if p.delay > 0 {
		t := time.NewTimer(p.delay)
		defer t.Stop()
		late = t.C
	}
	err := error(nil)
	select {
	case <-copied:
		err = p.streamFailure()
	case <-late:
		err = exec.ErrWaitDelay
	case <-p.c.done:
		err = p.c.Err()
	}
	p.cancel(context.Canceled)
	p.c.afterwards(http.MethodDelete, p.path)
	return p.exit, err
}

// Kill ends the command and everything it started, also what left its process group, and returns when they are
// dead. Killing what has ended is success.
func (p *Process) Kill(ctx context.Context) error { return p.c.kill(ctx, p.path) }

func (c *Client) kill(ctx context.Context, path string) error {
	err := c.untilDead(ctx, http.MethodPost, path+"/kill")
	if unknownCommand(err) {
		return nil
	}
	return err
}

// untilDead repeats a request until the agent says that what it kills is dead.
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
		err := p.c.do(p.c.ctx, request{method: http.MethodGet, path: p.path + "/exit", answer: &exit, timeout: longPoll})
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

// explain turns what an ended client makes of a request into why it ended.
func (p *Process) explain(err error) error {
	if gone := p.c.Err(); gone != nil {
		return gone
	}
	return fmt.Errorf("waiting for a command: %w", err)
}

func (p *Process) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure == nil {
		p.failure = err
	}
}

func (p *Process) streamFailure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

func bytesOf(ss []string) [][]byte {
	bs := make([][]byte, len(ss))
	for i, s := range ss {
		bs[i] = []byte(s)
	}
	return bs
}

// sameWriter reports whether two writers are one. Values that cannot be compared are not.
func sameWriter(a, b io.Writer) (same bool) {
	defer func() {
		if recover() != nil {
			same = false
		}
	}()
	return a != nil && a == b
}

var errBodyTooLong = errors.New("the agent sent more than was asked for")
