package h2

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"sync"

	"golang.org/x/net/http2/hpack"
)

// A Stream is one request and its answer. The handler's goroutine uses it.
type Stream struct {
	Method string
	Path   string // as the request has it, escaped
	Query  string // behind the question mark of the path
	Length int64  // of the body; -1 = unknown

	conn   *conn
	id     uint32
	ctx    context.Context
	cancel context.CancelFunc

	// The handler alone uses these, for the answer.
	status int
	fields []hpack.HeaderField
	begun  bool   // the headers have been sent
	out    []byte // bytes that are not sent yet

	// Protected by conn.mu.
	body       []byte          // of the request, not read yet
	buf        *[bodySize]byte // that body is in; nil = none
	arrived    int64           // bytes of the body, with those that were read
	received   bool            // body is all that is left of it
	err        error           // why the stream has ended
	readable   sync.Cond       // body, received, err or the connection's life have changed
	sendWindow int             // bytes that the peer takes
	recvWindow int             // bytes that the peer may send
	owed       int             // bytes that were taken and that the peer does not know of yet
}

// Reasons for the end of a stream.
var (
	errReset    = errors.New("http2: the client has given the request up")
	errAnswered = errors.New("http2: the request has been answered")
	errAborted  = errors.New("http2: the answer was given up")
	errLarge    = errors.New("http2: a body that does not fit into the window")
)

// newStream makes the stream of a request. The connection's lock is held.
func newStream(c *conn, id uint32, h header, ends bool) (*Stream, error) {
	s := &Stream{conn: c, id: id, status: 200, sendWindow: c.peerWindow, recvWindow: streamWindow}
	s.readable.L = &c.mu
	if err := s.request(h, ends); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(c.ctx)
	return s, nil
}

// Context ends when the client gives the request up, when the connection ends, and when the handler has returned.
func (s *Stream) Context() context.Context { return s.ctx }

// receive stores a part of the body. The connection's lock is held.
func (s *Stream) receive(b []byte, last bool) error {
	s.arrived += int64(len(b))
	if s.received || s.Length >= 0 && (s.arrived > s.Length || last && s.arrived < s.Length) {
		return protocolError("a body of stream %d that is not as long as it says", s.id)
	}
	if s.body == nil && s.Length >= usualFrame && s.Length <= bodySize {
		s.buf = bodies.Get().(*[bodySize]byte)
		s.body = s.buf[:0]
	}
	s.body = append(s.body, b...)
	s.received = last
	s.readable.Broadcast()
	return nil
}

// end makes reads and writes fail. The connection's lock is held.
func (s *Stream) end(err error) {
	s.err = err
	s.cancel()
	s.readable.Broadcast()
	s.conn.room.Broadcast()
}

// failure says why nothing can be read or sent any more. The connection's lock is held.
func (s *Stream) failure() error {
	if s.err != nil {
		return s.err
	}
	return context.Cause(s.conn.ctx)
}

// Read reads the request's body. While the handler runs, another goroutine may call it.
func (s *Stream) Read(p []byte) (int, error) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	for len(s.body) == 0 {
		if s.received {
			return 0, io.EOF
		}
		if err := s.failure(); err != nil {
			return 0, err
		}
		s.readable.Wait()
	}
	n := copy(p, s.body)
	if s.body = s.body[n:]; len(s.body) == 0 {
		s.body = nil
	}
	s.conn.give(s, n)
	return n, nil
}

// bodies are buffers of bodies of a known length, up to bodySize.
var bodies = sync.Pool{New: func() any { return new([bodySize]byte) }}

const bodySize = 256 << 10

// Body returns all of the request's body, which must fit into the stream's window, if Read has not begun to read it. The caller calls
// free when it does not use the bytes any more, or leaves them to the garbage collector.
func (s *Stream) Body() (b []byte, free func(), err error) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	for !s.received {
		if err := s.failure(); err != nil {
			return nil, nil, err
		}
		if len(s.body) >= streamWindow {
			return nil, nil, errLarge
		}
		s.readable.Wait()
	}
	b, free = s.body, func() {}
	if buf := s.buf; buf != nil {
		free = func() { bodies.Put(buf) }
	}
	s.body, s.buf = nil, nil
	s.conn.give(s, len(b))
	return b, free, nil
}

// SetStatus sets the answer's status instead of 200. It has no effect after Flush or after 16 KB of the body.
func (s *Stream) SetStatus(code int) { s.status = code }

// SetHeader adds a header field to the answer, as SetStatus. The name must be in lower case.
func (s *Stream) SetHeader(name, value string) {
	s.fields = append(s.fields, hpack.HeaderField{Name: name, Value: value})
}

// Write adds to the answer's body. Small writes are collected. A Write that sends waits until the windows have room.
func (s *Stream) Write(p []byte) (int, error) {
	if len(s.out)+len(p) <= usualFrame {
		s.out = append(s.out, p...)
		return len(p), nil
	}
	if len(s.out) > 0 {
		if err := s.send(false); err != nil {
			return 0, err
		}
	}
	if err := s.sendBytes(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Abort makes the answer one that is not whole: the client's reading fails.
func (s *Stream) Abort() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.err == nil {
		s.end(errAborted)
	}
}

// Flush sends the headers and all bytes that were written.
func (s *Stream) Flush() error { return s.send(false) }

func (s *Stream) send(last bool) error {
	err := s.sendBytes(s.out, last)
	s.out = s.out[:0]
	return err
}

// sendBytes sends the headers, unless that is done, and b.
func (s *Stream) sendBytes(b []byte, last bool) error {
	var frames []byte
	if !s.begun {
		s.begun = true
		block := encode(s.status, s.fields)
		flags := byte(flagEndHeaders)
		if last && len(b) == 0 {
			flags |= flagEnd
		}
		frames = append(appendHead(nil, frameHeaders, flags, s.id, len(block)), block...)
		last = last && len(b) > 0
	}
	for last || len(b) > 0 {
		n, err := s.reserve(len(b), frames == nil)
		if err != nil {
			return err
		}
		if n == 0 && len(b) > 0 { // headers need no room
			if err := s.conn.write(frames, nil); err != nil {
				return err
			}
			frames = nil
			continue
		}
		flags := byte(0)
		if last && n == len(b) {
			flags, last = flagEnd, false
		}
		if err := s.conn.write(appendHead(frames, frameData, flags, s.id, n), b[:n]); err != nil {
			return err
		}
		frames, b = nil, b[n:]
	}
	if len(frames) == 0 {
		return nil
	}
	return s.conn.write(frames, nil)
}

// reserve returns how many of n bytes may be sent now. If there are none, it waits for some, or returns 0 if it must not wait.
func (s *Stream) reserve(n int, wait bool) (int, error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := s.failure(); err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, nil
		}
		if may := min(n, c.peerFrame, c.sendWindow, s.sendWindow); may > 0 {
			c.sendWindow -= may
			s.sendWindow -= may
			return may, nil
		}
		if !wait {
			return 0, nil
		}
		c.room.Wait()
	}
}

// run calls the handler and ends the answer.
func (s *Stream) run() {
	code := uint32(codeInternal)
	defer func() {
		if r := recover(); r != nil {
			s.conn.server.Log.Error("panic in a request", "method", s.Method, "path", s.Path, "panic", r, "stack", string(debug.Stack()))
		}
		s.close(code)
	}()
	s.conn.server.Handler(s)
	if s.send(true) == nil {
		code = codeNone
	}
}

// close forgets the stream. It tells the client to stop sending the rest of its request, or that the answer is not whole. A Read
// that is under way in another goroutine fails.
func (s *Stream) close(code uint32) {
	s.cancel()
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err == nil && (code != codeNone || !s.received) {
		c.queue(appendNumber(nil, frameReset, s.id, code))
	}
	if s.err == nil {
		s.err = errAnswered
	}
	s.readable.Broadcast()
	delete(c.streams, s.id)
	c.give(nil, len(s.body))
	s.body = nil
}
