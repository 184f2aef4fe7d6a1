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

	"github.com/berth-go/berth/agent/internal/wire"
)

// link is one connection to the agent.
type link struct {
	conn   *http.ClientConn
	ctx    context.Context // ends when the connection is of no use any more
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
	connectTimeout = 30 * time.Second // to dial and to be greeted
	firstPause     = 100 * time.Millisecond
	longestPause   = 2 * time.Second
	settled        = time.Second            // a connection that lasted so long is made again at once,
	flapping       = 100 * time.Millisecond // and one that did not after this
)

// keep holds a connection until the client ends.
func (c *Client) keep() {
	var pause time.Duration
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
			if pause = min(pause, flapping); time.Since(l.since) > settled {
				pause = 0
			}
		}
		select {
		case <-c.ctx.Done():
		case <-time.After(pause):
		}
		pause = min(max(2*pause, firstPause), longestPause)
	}
}

// connect dials and greets.
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

// greeted checks that it is an agent to talk to, and the same as before.
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
	c.boot = h.Boot
	return nil
}

// publish tells all who wait that there is a connection, or why there is none.
func (c *Client) publish(l *link, failure error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link, c.failure = l, failure
	close(c.changed)
	c.changed = make(chan struct{})
}

// watch returns when the connection is of no use any more.
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

// current returns the connection, and waits for it.
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

// A request is one exchange with the agent that may be repeated.
type request struct {
	method, path string
	body         []byte
	answer       any                        // where the JSON of the answer goes; or
	read         func(*http.Response) error // what takes the answer. Its error means a broken connection
	timeout      time.Duration              // 0 = the context's only
}

// do makes a request, again and again if connections break under it.
func (c *Client) do(ctx context.Context, r request) error {
	for {
		l, err := c.current(ctx)
		if err != nil {
			return err
		}
		err = l.do(ctx, r)
		var failed *transportError
		if !errors.As(err, &failed) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l.broken(err)
		select { // keep replaces it
		case <-c.replaced(l):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// replaced returns a channel that is closed when l is not the connection any more.
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

// transportError is a failure of the connection, not of what was asked.
type transportError struct{ err error }

func (e *transportError) Error() string { return e.err.Error() }
func (e *transportError) Unwrap() error { return e.err }

// do makes a request once. An error that the agent reported is returned as this package knows it.
func (l *link) do(ctx context.Context, r request) error {
	if r.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, "http://agent"+wire.Root+r.path, body)
	if err != nil {
		return err
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
		case !known && resp.StatusCode == http.StatusNotFound: // of an agent that does not have the path
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
