package filewire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Bounds of a Conn.
const (
	maxCalls = 64 // requests without an answer that are not of OpWatch
	// patience is how long a request may be without an answer. The removal of a large tree takes a while.
	patience = 5 * time.Minute
)

// ErrLost is the error of a request whose answer will never come. The program has ended or is of no use any more.
var ErrLost = errors.New("the program that serves the session's files has ended")

// A Conn is the client's end of a connection. All methods are safe for concurrent use.
type Conn struct {
	out  chan []byte // frames to write
	done chan struct{}
	turn chan struct{} // bounds the calls

	mu      sync.Mutex // protects what follows
	seq     uint32
	pending map[uint32]*call
	err     error // why it has ended; nil = it has not
}

// A call is a request without an answer.
type call struct {
	answer chan Answer // has room for it; closed if it will not come
	late   *time.Timer // nil = the answer may take for ever
	given  bool        // nobody waits for the answer
}

// NewConn returns a connection that writes requests to w and reads answers from r, until Close or until one of them fails. It closes both
// then.
func NewConn(w io.WriteCloser, r io.ReadCloser) *Conn {
	c := &Conn{
		out: make(chan []byte), done: make(chan struct{}), turn: make(chan struct{}, maxCalls), pending: make(map[uint32]*call),
	}
	go c.write(w)
	go c.read(r)
	return c
}

// Done returns a channel that is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close ends the connection. Requests without an answer fail with cause, which wraps ErrLost.
func (c *Conn) Close(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = cause
	for _, one := range c.pending {
		if one.late != nil {
			one.late.Stop()
		}
		close(one.answer)
	}
	clear(c.pending)
	close(c.done)
}

// Err returns why the connection has ended; nil = it has not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *Conn) write(w io.WriteCloser) {
	defer w.Close()
	for {
		select {
		case frame := <-c.out:
			if _, err := w.Write(frame); err != nil {
				select { // the other direction tells more
				case <-c.done:
				case <-time.After(time.Second):
					c.Close(fmt.Errorf("%w: %w", ErrLost, err))
				}
				return
			}
		case <-c.done:
			return
		}
	}
}

func (c *Conn) read(r io.ReadCloser) {
	defer r.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-c.done:
			r.Close()
		case <-stop:
		}
	}()
	in := bufio.NewReaderSize(r, 32<<10)
	for {
		frame, err := readFrame(in, nil) // the answer's data stay in it
		var id uint32
		var a Answer
		if err == nil {
			id, a, err = parseAnswer(frame)
		}
		if err == nil {
			err = c.deliver(id, a)
		}
		if err != nil {
			c.Close(fmt.Errorf("%w: %w", ErrLost, err))
			return
		}
	}
}

// deliver gives an answer to its caller.
func (c *Conn) deliver(id uint32, a Answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.pending[id]
	if one == nil {
		return fmt.Errorf("%w: it answers what was not asked", errMessage)
	}
	delete(c.pending, id)
	if one.late != nil {
		one.late.Stop()
		<-c.turn
	}
	if one.given && a.Handle != 0 {
		go c.Call(context.Background(), &Request{Op: OpClose, Handle: a.Handle, Abort: true}) // ends with its answer or the connection
	}
	one.answer <- a
	return nil
}

// Call makes a request and waits for its answer. The error is the answer's own, the cause of ctx, or one that wraps ErrLost. If it is not
// the answer's own, the request may have been carried out, or may still be.
func (c *Conn) Call(ctx context.Context, r *Request) (Answer, error) {
	if err := r.check(); err != nil {
		return Answer{}, err
	}
	waits := r.Op == OpRead && r.Size == 0 // of events
	if !waits {
		select {
		case c.turn <- struct{}{}:
		case <-ctx.Done():
			return Answer{}, context.Cause(ctx)
		case <-c.done:
			return Answer{}, c.Err()
		}
	}
	id, one, err := c.add(waits)
	if err != nil {
		return Answer{}, err
	}
	select {
	case c.out <- r.frame(id):
	case <-ctx.Done():
		c.forget(id, one)
		return Answer{}, context.Cause(ctx)
	case <-c.done:
		return Answer{}, c.Err()
	}
	select {
	case a, ok := <-one.answer:
		if !ok {
			return Answer{}, c.Err()
		}
		return a, a.Err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case a, ok := <-one.answer:
		if ok {
			return a, a.Err
		}
	default:
		one.given = true
	}
	return Answer{}, context.Cause(ctx)
}

// add registers a call. The number of an older one that has no answer yet is not given out again.
func (c *Conn) add(waits bool) (uint32, *call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, nil, c.err
	}
	for c.seq++; c.pending[c.seq] != nil; c.seq++ {
	}
	one := &call{answer: make(chan Answer, 1)}
	if !waits {
		one.late = time.AfterFunc(patience, func() {
			c.Close(fmt.Errorf("%w: it has not answered for %v", ErrLost, patience))
		})
	}
	c.pending[c.seq] = one
	return c.seq, one, nil
}

// forget ends a call whose request was not sent.
func (c *Conn) forget(id uint32, one *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending[id] != one {
		return
	}
	delete(c.pending, id)
	if one.late != nil {
		one.late.Stop()
		<-c.turn
	}
}
