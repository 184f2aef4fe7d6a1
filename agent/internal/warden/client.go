package warden

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/internal/pause"
	"github.com/berth-go/berth/agent/internal/room"
)

// Client is an agent's side. It is safe for concurrent use. It connects when it is first used, and again when the connection has
// ended: the warden may be started anew at any time.
type Client struct {
	path string
	free chan struct{} // has a place for each connection that may be used at a time

	mu     sync.Mutex // protects what follows
	idle   []*net.UnixConn
	rooms  map[string]bool // those that are open, by ID
	synced bool            // the warden has been told of them
	note   string          // why a cache was not shared
}

var (
	_ room.Taker   = (*Client)(nil)
	_ room.Counter = (*Client)(nil)
	_ room.Bounder = (*Client)(nil)
	_ room.Mounter = (*Client)(nil)
)

// connections is how many requests a client has at a time. The others wait.
const connections = 4

// Dial returns a client of the warden whose socket is at path. It does not connect yet.
func Dial(path string) *Client {
	return &Client{path: path, free: make(chan struct{}, connections), rooms: make(map[string]bool), synced: true}
}

// Open opens a room. It returns the control socket of the room's init, and the init's pid in this container.
func (c *Client) Open(ctx context.Context, s room.Spec) (control *os.File, pid int, err error) {
	a, control, err := c.do(ctx, request{Op: opOpen, Room: &s})
	if err == nil && control == nil {
		err = errors.New("the warden's answer lacks the room's socket")
	}
	if err != nil {
		var refused *refusal
		if !errors.As(err, &refused) { // the room may be open, and will not be used
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
			defer cancel()
			c.Close(ctx, s.ID)
		}
		return nil, 0, fmt.Errorf("opening a room for session %s: %w", s.ID, err)
	}
	c.mu.Lock()
	c.rooms[s.ID] = true
	c.mu.Unlock()
	return control, a.PID, nil
}

const undoTimeout = 5 * time.Second

// Take gives a spare room, by its ID, to the session of the other fields. After an error the room is of no use any more.
func (c *Client) Take(ctx context.Context, s room.Spec) error {
	if _, _, err := c.do(ctx, request{Op: opTake, Room: &s}); err != nil {
		return fmt.Errorf("taking the room %s: %w", s.ID, err)
	}
	return nil
}

// TryCheckout mounts a checkout in a directory of this container, and says why that is not possible. "" = it is.
func (c *Client) TryCheckout(ctx context.Context, dir string) (why string, err error) {
	_, _, err = c.do(ctx, request{Op: opTry, Dir: dir})
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return refused.text, nil
	case err != nil:
		return "", fmt.Errorf("trying a checkout: %w", err)
	}
	return "", nil
}

// Close removes what is left of a room. It kills what still runs in it. To close a room that does not exist succeeds.
func (c *Client) Close(ctx context.Context, id string) error {
	c.mu.Lock()
	delete(c.rooms, id)
	c.mu.Unlock()
	if _, _, err := c.do(ctx, request{Op: opClose, ID: id}); err != nil {
		return fmt.Errorf("closing the room of session %s: %w", id, err)
	}
	return nil
}

// Sockets counts the sockets that the processes of a room hold, and those that are on their way to them.
func (c *Client) Sockets(ctx context.Context, id string) (int, error) {
	a, _, err := c.do(ctx, request{Op: opSockets, ID: id})
	if err != nil {
		return 0, fmt.Errorf("counting the sockets in the room %s: %w", id, err)
	}
	return a.Sockets, nil
}

// Isolation describes the walls between the rooms of this container.
func (c *Client) Isolation(ctx context.Context) (room.Isolation, error) {
	a, _, err := c.do(ctx, request{Op: opIsolation})
	if err == nil && a.Isolation == nil {
		err = errors.New("the answer lacks it")
	}
	if err != nil {
		return room.Isolation{}, fmt.Errorf("asking the warden: %w", err)
	}
	return *a.Isolation, nil
}

// PutUpWalls puts up the walls of this container's network, or those of another policy in their place. To put up the same
// again costs little, and tells a warden that was started anew about them.
func (c *Client) PutUpWalls(ctx context.Context, p egress.Policy) error {
	if _, _, err := c.do(ctx, request{Op: opNetwork, Network: networkOf(p)}); err != nil {
		return fmt.Errorf("putting up the walls of the network: %w", err)
	}
	return nil
}

// Pin lets sessions connect to addresses for a time, if the policy of the walls has names.
func (c *Client) Pin(ctx context.Context, addrs []netip.Addr, life time.Duration) error {
	if _, _, err := c.do(ctx, request{Op: opPin, Pin: &pins{Addrs: addrs, Life: life}}); err != nil {
		return fmt.Errorf("letting sessions connect to %v: %w", addrs, err)
	}
	return nil
}

// Bound implements room.Bounder.
func (c *Client) Bound(ctx context.Context, dir string, bytes, files int64) (bounded bool, err error) {
	a, _, err := c.do(ctx, request{Op: opQuota, Quota: &quota{Dir: dir, Bytes: bytes, Files: files}})
	if err != nil {
		return false, fmt.Errorf("bounding %s: %w", dir, err)
	}
	return a.Bounded, nil
}

// Unlinked implements room.Bounder.
func (c *Client) Unlinked(ctx context.Context, id, dir string) (bytes int64, err error) {
	a, _, err := c.do(ctx, request{Op: opUnlinked, Held: &held{ID: id, Dir: dir}})
	if err != nil {
		return 0, fmt.Errorf("asking for the removed files of room %s: %w", id, err)
	}
	return a.Bytes, nil
}

// A refusal is an error that the warden answered.
type refusal struct {
	text       string
	noCheckout bool
}

func (e *refusal) Error() string { return "the warden: " + e.text }

func (e *refusal) Is(target error) bool { return e.noCheckout && target == room.ErrNoCheckout }

// do sends a request and receives its answer. If the connection turns out to have ended, it connects again, once.
func (c *Client) do(ctx context.Context, r request) (answer, *os.File, error) {
	select {
	case c.free <- struct{}{}:
		defer func() { <-c.free }()
	case <-ctx.Done():
		return answer{}, nil, context.Cause(ctx)
	}
	for again := true; ; again = false {
		conn, fresh, err := c.connect(ctx)
		if err != nil {
			return answer{}, nil, err
		}
		a, control, sent, err := exchange(ctx, conn, r)
		if err == nil {
			c.keep(conn, a.Note)
			if a.Error != "" {
				err = &refusal{a.Error, a.NoCheckout}
			}
			return a, control, err
		}
		conn.Close()
		c.lost()
		if sent && r.Op == opOpen || fresh || !again || ctx.Err() != nil {
			return answer{}, nil, err
		}
	}
}

// exchange reports whether the request may have arrived if there is an error.
func exchange(ctx context.Context, conn *net.UnixConn, r request) (a answer, control *os.File, sent bool, err error) {
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return a, nil, false, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := send(conn, r, -1); err != nil {
		return a, nil, false, err
	}
	controls, err := receive(conn, make([]byte, maxAnswer), syscall.CmsgSpace(4), &a)
	for _, fd := range passed(controls) {
		control = os.NewFile(uintptr(fd), "room")
	}
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil && control != nil {
		control.Close()
		control = nil
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return a, control, true, err
}

// listenTimeout is how long a warden that is started anew may take until it listens.
const listenTimeout = 5 * time.Second

// dial connects to the warden. It waits for one that does not listen yet.
func (c *Client) dial(ctx context.Context) (*net.UnixConn, error) {
	var dialer net.Dialer
	for end := time.Now().Add(listenTimeout); ; {
		conn, err := dialer.DialContext(ctx, "unixpacket", c.path)
		if err == nil {
			return conn.(*net.UnixConn), nil
		}
		absent := errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
		if !absent || time.Now().After(end) || pause.Sleep(ctx, 10*time.Millisecond) != nil {
			return nil, err
		}
	}
}

// connect returns an idle connection, or a fresh one. The first after a loss tells the warden which rooms are open.
func (c *Client) connect(ctx context.Context) (conn *net.UnixConn, fresh bool, err error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		conn, c.idle = c.idle[n-1], c.idle[:n-1]
		c.mu.Unlock()
		return conn, false, nil
	}
	c.mu.Unlock()
	if conn, err = c.dial(ctx); err != nil {
		return nil, false, err
	}
	c.mu.Lock()
	ids, synced := slices.Sorted(maps.Keys(c.rooms)), c.synced
	c.mu.Unlock()
	if synced {
		return conn, true, nil
	}
	if _, _, _, err := exchange(ctx, conn, request{Op: opSync, IDs: ids}); err != nil {
		conn.Close()
		return nil, false, err
	}
	c.mu.Lock()
	c.synced = true
	c.mu.Unlock()
	return conn, true, nil
}

func (c *Client) keep(conn *net.UnixConn, note string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, conn)
	if note != "" {
		c.note = note
	}
}

// Unshared returns why a session had a cache of its own where it was to share one. "" = that did not happen.
func (c *Client) Unshared() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.note
}

// lost drops the idle connections: they have ended, too.
func (c *Client) lost() {
	c.mu.Lock()
	idle := c.idle
	c.idle, c.synced = nil, false
	c.mu.Unlock()
	for _, conn := range idle {
		conn.Close()
	}
}
