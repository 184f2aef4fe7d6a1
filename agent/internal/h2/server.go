package h2

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/pause"
)

// Limits of the server.
const (
	maxFrame     = 257 << 10        // bytes of one frame that a client may send
	maxStreams   = 100_000          // requests of one connection at the same time
	maxHeaders   = 64 << 10         // bytes of one header block
	maxControl   = 1 << 20          // bytes of control frames that a peer does not read
	streamWindow = 1 << 20          // bytes of a request's body that the handler has not read
	connWindow   = 4<<20 - 1        // the same for all requests of a connection
	quiet        = 20 * time.Second // a connection that is silent for so long is pinged, and closed after as long again
)

// A Server answers requests. Its fields do not change after the first call of Serve or ServeConn.
type Server struct {
	Handler func(*Stream) // called for each request in a goroutine of its own; the answer ends when it returns
	Log     *slog.Logger  // told of panics, at level error, and of the ends of connections, at level debug

	mu       sync.Mutex
	closed   bool
	listener net.Listener
	conns    map[*conn]bool
}

// ErrClosed is what Serve returns after Close.
var ErrClosed = errors.New("http2: server closed")

// Serve accepts connections until the listener fails or Close. It waits while the process has too many open files.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	s.listener = l
	closed := s.closed
	s.mu.Unlock()
	if closed {
		l.Close()
		return ErrClosed
	}
	for {
		conn, err := pause.Accept(l, func(err error) { s.Log.Error("cannot accept a connection", "error", err) })
		switch {
		case err == nil:
			go s.ServeConn(conn) // ends with the connection, which Close closes
		case s.isClosed():
			return ErrClosed
		default:
			return err
		}
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close ends the listener and all connections. It does not wait for handlers, whose contexts end.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.listener != nil {
		s.listener.Close()
	}
	for c := range s.conns {
		c.cancel(ErrClosed)
	}
}

// ServeConn serves one connection. It returns when the connection and all its handlers have ended.
func (s *Server) ServeConn(nc net.Conn) {
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &conn{
		server: s, net: nc, in: bufio.NewReader(nc), ctx: ctx, cancel: cancel,
		wake: make(chan struct{}, 1), headers: newDecoder(), streams: make(map[uint32]*Stream),
		sendWindow: usualWindow, peerWindow: usualWindow, peerFrame: usualFrame, recvWindow: connWindow,
	}
	c.room.L = &c.mu
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		nc.Close()
		return
	}
	if s.conns == nil {
		s.conns = make(map[*conn]bool)
	}
	s.conns[c] = true
	s.mu.Unlock()

	c.begin()
	context.AfterFunc(ctx, c.close)
	cancel(c.serve())
	c.running.Wait()
	s.Log.Debug("connection ended", "reason", context.Cause(ctx))
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}
