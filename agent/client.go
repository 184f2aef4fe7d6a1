package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// ClientOptions adjust a Client. The zero value will do.
type ClientOptions struct {
	// Manager tells this process from others that use the same container; see State. Default: random.
	Manager string
	// Observe makes the client one that only looks: the agent does not count it as a manager.
	Observe bool
	// Logger is told of lost connections. nil = silence.
	Logger *slog.Logger
}

// A Client uses the agent of one container. It keeps one connection, makes it again when it breaks, and goes on
// where it was: commands run on meanwhile, no output is lost, nothing is done twice.
//
// All methods are safe for concurrent use. Each returns when its context ends, when the container is gone (ErrGone)
// or when the client was closed (ErrClosed); while there is no connection, they wait.
type Client struct {
	dial      func(context.Context) (net.Conn, error)
	opts      ClientOptions
	transport *http.Transport

	ctx    context.Context // ends with the client; its cause says why
	cancel context.CancelCauseFunc
	done   chan struct{}  // closed when ctx has ended
	loops  sync.WaitGroup // goroutines that end soon after ctx
	last   sync.WaitGroup // requests that Close lets finish

	mu      sync.Mutex    // protects what follows
	link    *link         // nil while there is no connection
	changed chan struct{} // closed and replaced when link changes
	failure error         // why there is no connection
	boot    string        // the agent's, once known
	closed  bool          // last takes no more
}

// NewClient returns a client of the agent that dial connects to: to the stdio of "berth-agent join" in the container,
// or to the agent's socket. It returns at once and connects in the background.
//
// dial is called again whenever the connection is lost. It returns an error that wraps ErrGone when the container
// does not run any more, which ends the client; any other error is tried again, ever more slowly.
func NewClient(dial func(ctx context.Context) (net.Conn, error), opts ClientOptions) *Client {
	opts.Manager = cmp.Or(opts.Manager, rand.Text())
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	c := &Client{dial: dial, opts: opts, done: make(chan struct{}), changed: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.transport = newTransport(dial)
	context.AfterFunc(c.ctx, func() { close(c.done) })
	c.loops.Go(c.keep)
	return c
}

// Done is closed when the container is gone for good, or after Close.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why Done is closed: it wraps ErrGone, ErrIncompatible or ErrClosed. nil before.
func (c *Client) Err() error {
	select {
	case <-c.done:
		return context.Cause(c.ctx)
	default:
		return nil
	}
}

// Close ends the connection and every call that waits; it returns when they have. The container and its commands go
// on: another client finds them.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	connected := c.link != nil
	c.mu.Unlock()
	if connected {
		waitFor(&c.last, time.Second)
	}
	c.cancel(ErrClosed)
	c.loops.Wait()
	c.last.Wait()
	return nil
}

// waitFor waits for a group, but not longer than d.
func waitFor(g *sync.WaitGroup, d time.Duration) {
	all := make(chan struct{})
	go func() { // ends with the group, whose members end with the client or before
		g.Wait()
		close(all)
	}()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-all:
	case <-t.C:
	}
}

// spawn runs a goroutine that ends with the client; false when that has ended.
func (c *Client) spawn(fn func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.loops.Go(fn)
	}
	return !c.closed
}

// afterwards runs a request that nobody waits for, but Close.
func (c *Client) afterwards(method, path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.last.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
		defer cancel()
		c.do(ctx, request{method: method, path: path, timeout: short})
	})
}

// State says who else uses a container.
type State struct {
	Managers int           // connected now, this client's own manager not counted
	Idle     time.Duration // since the last of them left, or since the container started if there was none
}

// State asks the agent who else uses the container.
func (c *Client) State(ctx context.Context) (State, error) {
	var s wire.State
	path := "state?manager=" + url.QueryEscape(c.opts.Manager)
	if err := c.do(ctx, request{method: http.MethodGet, path: path, answer: &s, timeout: short}); err != nil {
		return State{}, err
	}
	return State{Managers: s.Managers, Idle: time.Duration(s.Idle * float64(time.Second))}, nil
}

// Sessions returns the IDs of the open sessions and their uids.
func (c *Client) Sessions(ctx context.Context) (map[string]int, error) {
	var uids map[string]int
	err := c.do(ctx, request{method: http.MethodGet, path: "sessions", answer: &uids, timeout: short})
	return uids, err
}

// Idle returns how long a session has had no running command: 0 while one runs, else the time since the last one
// ended, or since Open if there was none. A command runs until the agent has seen it end, whichever client started it
// and whether or not one is connected; what it left in the background does not count. The agent measures the time by
// a clock that nobody sets.
//
// ErrUnknownSession: the session is not open. errors.ErrUnsupported: the agent is too old to tell; the session may
// have commands that this client does not know of.
func (c *Client) Idle(ctx context.Context, session string) (time.Duration, error) {
	var a *wire.Activity
	path := "sessions/" + url.PathEscape(session)
	if err := c.do(ctx, request{method: http.MethodGet, path: path, answer: &a, timeout: short}); err != nil {
		return 0, err
	}
	if a == nil {
		return 0, errIncomplete
	}
	return time.Duration(a.Idle * float64(time.Second)), nil
}

// drain reads what is left of a small body, so that its stream ends in order.
func drain(body io.ReadCloser) {
	io.Copy(io.Discard, io.LimitReader(body, 64<<10))
	body.Close()
}

// fromWire turns an error that the agent reported into one of this package's.
func fromWire(e *wire.Error) error {
	sentinel := map[string]error{
		wire.CodeUnknownSession: ErrUnknownSession,
		wire.CodeBranchNotFound: ErrBranchNotFound,
		wire.CodeNotExecutable:  ErrNotExecutable,
	}[e.Code]
	switch {
	case e.Code == wire.CodeGit:
		return &GitError{Op: e.Op, Message: e.Message}
	case sentinel != nil:
		return &remoteError{e.Message, sentinel}
	}
	return e
}

// remoteError has the agent's words, and is what they mean.
type remoteError struct {
	message string
	meaning error
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.meaning }

// unknownCommand reports whether the agent knows the command no more.
func unknownCommand(err error) bool {
	var e *wire.Error
	return errors.As(err, &e) && e.Code == wire.CodeUnknownCommand
}
