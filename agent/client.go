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
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/wire"
)

// ClientOptions adjust a Client. The zero value will do.
type ClientOptions struct {
	// Manager tells this process from others that use the same container: see State. The default is random.
	Manager string
	// Observe makes the agent not count this client as a manager.
	Observe bool
	// Logger gets lost connections. nil = no log.
	Logger *slog.Logger
}

// A Client uses the agent of one container. It keeps one connection. When the connection breaks, the Client connects again and
// continues: commands run on meanwhile, no output is lost, and nothing is done twice.
//
// All methods are safe for concurrent use. They wait while there is no connection. Each returns when its context ends, when
// the container is gone (ErrGone) or when the client was closed (ErrClosed).
type Client struct {
	dial      func(context.Context) (net.Conn, error)
	opts      ClientOptions
	transport *http.Transport

	ctx    context.Context // ends with the client; its cause says why
	cancel context.CancelCauseFunc
	done   chan struct{}  // closed when ctx has ended
	loops  sync.WaitGroup // waits for goroutines that end soon after ctx
	last   sync.WaitGroup // waits for requests that Close lets finish

	mu      sync.Mutex    // protects what follows
	link    *link         // nil while there is no connection
	changed chan struct{} // closed and replaced when link changes
	failure error         // why there is no connection
	boot    string        // identifies the agent's start, once known

	canFollow bool // wire.Hello.Follow of that agent
	canFiles  bool // wire.Hello.Files of that agent
	canWork   bool // wire.Hello.Work of that agent

	closed bool // last takes no more
}

// NewClient returns a client of the agent that dial connects to. dial connects to the standard streams of "berth-agent join"
// in the container, or to the agent's socket. NewClient returns at once and connects in the background.
//
// The client calls dial again whenever the connection is lost. An error that wraps ErrGone says that the container does not
// run any more, and ends the client. After any other error the client tries again, with growing pauses.
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

// Done returns a channel that is closed when the container is gone for good, or after Close.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why Done is closed or is about to be: it wraps ErrGone, ErrIncompatible or ErrClosed. It returns nil before.
func (c *Client) Err() error { return context.Cause(c.ctx) }

// Close ends the connection and every waiting call, and returns when they have ended. The container and its commands
// continue, and another client finds them.
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

// waitFor waits for a group, but no longer than d.
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

// spawn runs a goroutine that ends with the client. It returns false if the client has ended.
func (c *Client) spawn(fn func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.loops.Go(fn)
	}
	return !c.closed
}

// afterwards runs a request in the background. Only Close waits for it.
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

// State says whether others use a container.
type State struct {
	Managers int           // connected managers, without this client's own
	Idle     time.Duration // since the last of them left, or since the container's start if there was none
}

// State asks the agent whether others use the container.
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

// EndedSession is a session that the agent has ended by itself, because it used more than it may. Nothing of it runs. Its files are being
// removed, or are gone. Client.Sessions still returns it, until CloseSession is called for it.
type EndedSession struct {
	ID     string
	Reason string // such as "disk: used 11.0 GiB of 10.0 GiB"
	// Number counts the sessions that the agent has ended since its start, from 1.
	Number int
}

// EndedSessions returns the sessions that the agent has ended by itself since its start, in order, without those up to the number seen. It
// waits until there is one. A session that was closed since may be left out, so that the next call takes the Number of the last session
// as seen. It returns errors.ErrUnsupported if the agent is too old to end sessions.
func (c *Client) EndedSessions(ctx context.Context, seen int) ([]EndedSession, error) {
	for {
		var some []wire.Ended
		path := "ended?seen=" + strconv.Itoa(seen)
		if err := c.do(ctx, request{method: http.MethodGet, path: path, answer: &some, timeout: longPoll}); err != nil {
			return nil, err
		}
		if len(some) == 0 {
			continue
		}
		ended := make([]EndedSession, len(some))
		for i, e := range some {
			ended[i] = EndedSession{ID: e.ID, Reason: gitremote.Line(e.Reason, gitremote.MaxWords), Number: cmp.Or(e.Number, seen+i+1)}
		}
		return ended, nil
	}
}

// Idle returns how long a session has had no running command. It is 0 while a command runs, and else the time since the last
// one ended, or since Open or Renew if that came later. A command runs until the agent has seen its end, no matter which
// client started it and whether a client is connected. Processes that a command left in the background do not count. The
// agent measures the time by a monotonic clock.
//
// Idle returns ErrUnknownSession if the session is not open. It returns errors.ErrUnsupported if the agent is too old to
// tell; the session may then have commands that this client does not know.
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

// Renew restarts a session's idle time.
//
// It returns ErrUnknownSession if the session is not open, and errors.ErrUnsupported if the agent is too old for it.
func (c *Client) Renew(ctx context.Context, session string) error {
	path := "sessions/" + url.PathEscape(session) + "/renew"
	return c.do(ctx, request{method: http.MethodPost, path: path, timeout: short})
}

// drain reads the rest of a small body, so that its stream ends in order.
func drain(body io.ReadCloser) {
	io.Copy(io.Discard, io.LimitReader(body, 64<<10))
	body.Close()
}

// fromWire turns an error that the agent reported into one of this package's.
func fromWire(e *wire.Error) error {
	sentinel := map[string]error{
		wire.CodeUnknownSession: ErrUnknownSession,
		wire.CodeOverLimit:      ErrOverLimit,
		wire.CodeBranchNotFound: ErrBranchNotFound,
		wire.CodeNotExecutable:  ErrNotExecutable,
		wire.CodeEnded:          os.ErrProcessDone,
		wire.CodeRefused:        syscall.ECONNREFUSED,
		wire.CodeProofRequired:  ErrProofRequired,
		wire.CodeNothingKept:    ErrNothingKept,
		wire.CodeNotPromoted:    ErrNotPromoted,
		wire.CodeNoLayer:        ErrNoLayer,
		wire.CodeAddressRefused: ErrAddressRefused,
	}[e.Code]
	message := gitremote.Line(e.Message, 2*gitremote.MaxWords) // an older agent passes on what it has read
	switch {
	case e.Code == wire.CodeGit:
		return &GitError{Op: gitremote.Line(e.Op, 64), Message: message}
	case sentinel != nil:
		return &remoteError{message, sentinel}
	}
	return &wire.Error{Code: e.Code, Message: message, Op: e.Op}
}

// remoteError has the agent's message, and wraps the sentinel for it.
type remoteError struct {
	message string
	meaning error
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.meaning }

// unknownCommand reports whether an error says that the agent does not know the command.
func unknownCommand(err error) bool {
	var e *wire.Error
	return errors.As(err, &e) && e.Code == wire.CodeUnknownCommand
}
