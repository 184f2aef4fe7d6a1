package agent

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// Conn is a connection that a [Client] has made. It is safe for concurrent use, and its methods behave as those of a net.TCPConn.
type Conn struct {
	in, out       net.Conn // ends of two pipes, of which one is read and the other one is written
	local, remote net.Addr
	peer          *Conn

	once   sync.Once
	closed chan struct{} // closed by Close

	explain             func(error) error // see Explain
	readOnce, writeOnce sync.Once         // of the calls of explain

	mu         sync.Mutex // protects what follows
	readError  error      // why in ends, if that is not the end of what was written
	writeError error      // why out is not read any more
}

var _ net.Conn = (*Conn)(nil)

// ConnPair returns the two ends of a connection in memory. A Write waits until its bytes are read.
func ConnPair(a, b net.Addr) (near, far *Conn) {
	toNear, fromFar := net.Pipe()
	toFar, fromNear := net.Pipe()
	near = &Conn{in: toNear, out: fromNear, local: a, remote: b, closed: make(chan struct{})}
	far = &Conn{in: toFar, out: fromFar, local: b, remote: a, closed: make(chan struct{})}
	near.peer, far.peer = far, near
	return near, far
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Read implements net.Conn. It returns io.EOF only if the other side has ended its writing. An error that is no timeout is final.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.ErrClosedPipe):
		err = net.ErrClosed
		if lost := c.why(&c.readError, &c.readOnce); lost != nil && !c.isClosed() { // both sides were ended
			err = lost
		}
	case errors.Is(err, io.EOF):
		if err = c.why(&c.readError, &c.readOnce); err == nil {
			return n, io.EOF
		}
	}
	return n, c.failed("read", err)
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := c.out.Write(b)
	if errors.Is(err, io.ErrClosedPipe) {
		if err = c.why(&c.writeError, &c.writeOnce); err == nil {
			err = net.ErrClosed
		}
	}
	if err != nil {
		err = c.failed("write", err)
	}
	return n, err
}

// why returns the error with which the other side has ended the reading or the writing; nil = it has not, or with io.EOF.
func (c *Conn) why(lost *error, once *sync.Once) error {
	read := func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		return *lost
	}
	err := read()
	if err == nil || c.explain == nil {
		return err
	}
	once.Do(func() {
		explained := c.explain(err)
		c.mu.Lock()
		defer c.mu.Unlock()
		*lost = explained
	})
	return read()
}

// Explain makes Read and Write return what fn returns for the error with which the other side has ended the connection. It is called
// before the first Read or Write. fn is called at most once for each of the two, and may block.
func (c *Conn) Explain(fn func(error) error) { c.explain = fn }

func (c *Conn) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: c.remote.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// CloseWrite ends the writing. The other side reads io.EOF behind what was written.
func (c *Conn) CloseWrite() error { return c.out.Close() }

// Close implements net.Conn. What was written still arrives, unless the connection is lost.
func (c *Conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.stopReading(errReset)
	return c.out.Close()
}

func (c *Conn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// Closed returns a channel that is closed by Close.
func (c *Conn) Closed() <-chan struct{} { return c.closed }

// Peer returns the other end of a pair.
func (c *Conn) Peer() *Conn { return c.peer }

// Break ends the connection for the other side: its Read returns err when it has read what was written, and so does its Write.
func (c *Conn) Break(err error) {
	c.stopWriting(err)
	c.stopReading(err)
}

// stopWriting ends what the other side reads; nil = with io.EOF.
func (c *Conn) stopWriting(err error) {
	c.peer.mu.Lock()
	if c.peer.readError == nil {
		c.peer.readError = err
	}
	c.peer.mu.Unlock()
	c.out.Close()
}

// stopReading makes the other side's Write fail.
func (c *Conn) stopReading(err error) {
	c.peer.mu.Lock()
	if c.peer.writeError == nil {
		c.peer.writeError = err
	}
	c.peer.mu.Unlock()
	c.in.Close()
}

// errReset is the error of a Write to a connection that the other side has closed.
var errReset error = syscall.EPIPE

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return open(c.in.SetReadDeadline(t)) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return open(c.out.SetWriteDeadline(t)) }

func open(err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return net.ErrClosed
	}
	return err
}
