package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/berth-go/berth/agent/internal/pause"
	"github.com/berth-go/berth/agent/internal/wire"
)

// A link is one connection to the agent.
type link struct {
	conn   *http.ClientConn
	ctx    context.Context // ends with the connection
	broken context.CancelCauseFunc
	since  time.Time
}

func newTransport(dial func(context.Context) (net.Conn, error)) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		Protocols:          protocols,
		DisableCompression: true,
		HTTP2: &http.HTTP2Config{
			StrictMaxConcurrentRequests:   true,
			MaxReadFrameSize:              wire.Chunk + 1<<10,
			MaxReceiveBufferPerStream:     4<<20 - 1,
			MaxReceiveBufferPerConnection: 4<<20 - 1,
			SendPingTimeout:               10 * time.Second,
			PingTimeout:                   5 * time.Second,
		},
	}
}

// Times of a connection.
const (
	connectTimeout = 30 * time.Second // to dial and to greet the agent
	firstPause     = 100 * time.Millisecond
	longestPause   = 2 * time.Second
	settled        = time.Second            // a connection that lasted so long is replaced at once
	flapping       = 100 * time.Millisecond // the pause after a connection that did not
)

// keep keeps a connection until the client ends.
func (c *Client) keep() {
	var again time.Duration // until the next try
	for c.ctx.Err() == nil {
		l, err := c.connect()
		switch {
		case errors.Is(err, ErrGone) || errors.Is(err, ErrIncompatible):
			c.cancel(err)
			return
		case err != nil:
			c.publish(nil, err)
		default:
			c.publish(l, nil)
			err := c.watch(l)
			c.opts.Logger.Info("lost the connection to the agent", "error", err)
			c.publish(nil, err)
			l.broken(err)
			l.conn.Close()
			if again = min(again, flapping); time.Since(l.since) > settled {
				again = 0
			}
		}
		if pause.Sleep(c.ctx, again) != nil {
			return
		}
		again = min(max(2*again, firstPause), longestPause)
	}
}

// connect dials and greets the agent.
func (c *Client) connect() (*link, error) {
	ctx, cancel := context.WithTimeout(c.ctx, connectTimeout)
	defer cancel()
	conn, err := c.transport.NewClientConn(ctx, "http", "agent:80")
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn, since: time.Now()}
	l.ctx, l.broken = context.WithCancelCause(c.ctx)
	var hello wire.Hello
	if err := l.do(ctx, request{method: http.MethodGet, path: "hello", answer: &hello}); err != nil {
		l.broken(err)
		conn.Close()
		return nil, fmt.Errorf("greeting the agent: %w", err)
	}
	if err := c.greeted(hello); err != nil {
		l.broken(err)
		conn.Close()
		return nil, err
	}
	return l, nil
}

// greeted checks that the agent speaks this client's protocol, and that it is the same agent as before.
func (c *Client) greeted(h wire.Hello) error {
	if h.Protocol < wire.Oldest || h.Oldest > wire.Protocol {
		return fmt.Errorf("%w: the agent (build %q) speaks protocol %d to %d, this program %d to %d",
			ErrIncompatible, h.Build, h.Oldest, h.Protocol, wire.Oldest, wire.Protocol)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.boot != "" && c.boot != h.Boot {
		return fmt.Errorf("%w: it was restarted", ErrGone)
	}
	c.boot, c.canFollow, c.canFiles, c.canWork = h.Boot, h.Follow, h.Files, h.Work
	return nil
}

// follows reports whether the agent knows requests that follow an output, and several that write an input.
func (c *Client) follows() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.canFollow
}

// serves waits for a connection, and returns an error if the agent does not have the program that a command starts in place of Args.
func serves(ctx context.Context, c *Client, cmd Command) error {
	if !cmd.Files && cmd.Work == "" {
		return nil
	}
	if _, err := c.current(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if cmd.Files && !c.canFiles {
		return fmt.Errorf("the agent is too old to serve files; a container that starts anew can: %w", errors.ErrUnsupported)
	}
	if cmd.Work != "" && !c.canWork {
		return fmt.Errorf("the agent is too old to keep the work of sessions; a container that starts anew can: %w", errors.ErrUnsupported)
	}
	return nil
}

// publish tells all waiting requests that there is a connection, or why there is none.
func (c *Client) publish(l *link, failure error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link, c.failure = l, failure
	close(c.changed)
	c.changed = make(chan struct{})
}

// watch returns when the connection has ended.
func (c *Client) watch(l *link) error {
	manager := c.opts.Manager
	if c.opts.Observe {
		manager = ""
	}
	path := "watch?manager=" + url.QueryEscape(manager)
	err := l.do(l.ctx, request{method: http.MethodGet, path: path, read: func(r *http.Response) error {
		_, err := io.Copy(io.Discard, r.Body)
		return err
	}})
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx)
	}
	return err
}

// current waits for a connection and returns it.
func (c *Client) current(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, changed, failure := c.link, c.changed, c.failure
		c.mu.Unlock()
		if err := c.Err(); err != nil {
			return nil, err
		}
		if l != nil {
			return l, nil
		}
		select {
		case <-changed:
		case <-c.done:
		case <-ctx.Done():
			if failure != nil {
				return nil, fmt.Errorf("%w; no connection to the agent: %w", context.Cause(ctx), failure)
			}
			return nil, context.Cause(ctx)
		}
	}
}

// A request is one exchange with the agent. It may be repeated.
type request struct {
	method, path string
	body         []byte
	stream       io.ReadCloser              // the body instead, if the request is made once
	length       int64                      // of stream, at most
	answer       any                        // the JSON of the answer is decoded into it; or
	read         func(*http.Response) error // reads the answer. Its error means a broken connection
	timeout      time.Duration              // 0 = no other than the context's
}

// do makes a request, and repeats it if the connection breaks.
func (c *Client) do(ctx context.Context, r request) error {
	for {
		if broken, err := c.try(ctx, r); !broken {
			return err
		}
	}
}

// try makes a request once. broken says that the connection has broken meanwhile, and that its time is over: the next request waits for
// another connection.
func (c *Client) try(ctx context.Context, r request) (broken bool, err error) {
	l, err := c.current(ctx)
	if err != nil {
		return false, err
	}
	err = l.do(ctx, r)
	var failed *transportError
	if !errors.As(err, &failed) {
		return false, err
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	l.broken(err)
	select { // keep replaces it
	case <-c.replaced(l):
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// replaced returns a channel that is closed when l is no longer the connection.
func (c *Client) replaced(l *link) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == l {
		return c.changed
	}
	gone := make(chan struct{})
	close(gone)
	return gone
}

// transportError is a failure of the connection, not of the request.
type transportError struct{ err error }

func (e *transportError) Error() string { return e.err.Error() }
func (e *transportError) Unwrap() error { return e.err }

// do makes a request once. It returns an error that the agent reported as the error of this package.
func (l *link) do(ctx context.Context, r request) error {
	if r.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	var body io.Reader
	switch {
	case r.body != nil:
		body = bytes.NewReader(r.body)
	case r.stream != nil:
		body = r.stream
	}
	req, err := http.NewRequestWithContext(ctx, r.method, "http://agent"+wire.Root+r.path, body)
	if err != nil {
		return err
	}
	if r.stream != nil {
		req.ContentLength = r.length
	}
	resp, err := l.conn.RoundTrip(req)
	if err != nil {
		return &transportError{err}
	}
	defer drain(resp.Body)
	if resp.StatusCode >= 400 {
		var e wire.Error
		b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if err != nil {
			return &transportError{err}
		}
		known := json.Unmarshal(b, &e) == nil && e.Code != ""
		switch {
		case !known && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed):
			// The agent does not have the path, or takes it for another one.
			return fmt.Errorf("the agent is too old for %s %s: %w", r.method, r.path, errors.ErrUnsupported)
		case !known:
			return fmt.Errorf("the agent answered %s to %s %s", resp.Status, r.method, r.path)
		}
		return fromWire(&e)
	}
	switch {
	case r.read != nil:
		err = r.read(resp)
	case r.answer != nil && resp.StatusCode == http.StatusOK:
		err = json.NewDecoder(resp.Body).Decode(r.answer)
	}
	if err != nil {
		return &transportError{err}
	}
	return nil
}
