package h2

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
)

// A conn is one connection. One goroutine reads it. Handlers write their answers themselves. Frames of the reader go through a
// queue: the reader must not wait until the peer reads, since the peer may be waiting until the reader reads.
type conn struct {
	server  *Server
	net     net.Conn
	ctx     context.Context // ends with the connection; its cause says why
	cancel  context.CancelCauseFunc
	running sync.WaitGroup // handlers, and the writer of the queue

	// The reader alone uses these.
	in      *bufio.Reader
	buf     []byte // the payload of the last frame
	headers *hpack.Decoder
	last    uint32 // the highest stream that the peer has opened

	writing sync.Mutex // held while bytes are written
	joined  []byte     // protected by writing: the bytes of one system call

	wake chan struct{} // there is something in control

	mu         sync.Mutex // protects what follows, and the streams
	control    []byte     // frames that wait to be written
	streams    map[uint32]*Stream
	room       sync.Cond // there may be room in a window for sending, or a stream has ended
	sendWindow int       // bytes that the peer takes on all streams
	peerWindow int       // bytes that the peer takes on a new stream
	peerFrame  int       // bytes that the peer takes in a frame
	recvWindow int       // bytes that the peer may send on all streams
	owed       int       // bytes that were taken and that the peer does not know of yet
	pinged     bool      // nothing has come since a ping was sent
	silence    *time.Timer
}

// errSilent ends a connection whose peer does not answer.
var errSilent = errors.New("http2: the peer does not answer")

// close is called when ctx has ended.
func (c *conn) close() {
	c.net.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silence.Stop()
	for _, s := range c.streams {
		s.readable.Broadcast()
	}
	c.room.Broadcast()
}

// serve reads the connection until it fails.
func (c *conn) serve() error {
	c.running.Go(c.writeControl)
	first := make([]byte, len(preface))
	if _, err := io.ReadFull(c.in, first); err != nil {
		return err
	}
	if string(first) != preface {
		return protocolError("no preface")
	}
	for {
		f, err := readFrame(c.in, &c.buf)
		if err != nil {
			return err
		}
		c.heard()
		if f.kind == frameHeaders {
			err = c.takeHeaders(f)
		} else {
			err = c.take(f)
		}
		if err != nil {
			return err
		}
	}
}

// begin sends the settings, and starts to watch for silence.
func (c *conn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue(appendSettings(nil, settingMaxStreams, maxStreams, settingWindow, streamWindow, settingMaxFrame, maxFrame))
	c.queue(appendNumber(nil, frameWindowUpdate, 0, connWindow-usualWindow))
	c.silence = time.AfterFunc(quiet, c.ping)
}

// heard records that something has come from the peer.
func (c *conn) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pinged = false
	c.silence.Reset(quiet)
}

// ping is called when nothing has come for a while.
func (c *conn) ping() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ctx.Err() != nil:
	case c.pinged:
		c.cancel(errSilent)
	default:
		c.pinged = true
		c.silence.Reset(quiet)
		c.queue(append(appendHead(nil, framePing, 0, 0, 8), "anybody?"...))
	}
}

// queue has frames written soon. It does not wait for the peer to read them. The lock is held.
func (c *conn) queue(frames []byte) {
	c.control = append(c.control, frames...)
	if len(c.control) > maxControl {
		c.cancel(protocolError("the peer asks for answers that it does not read"))
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// writeControl writes the queue until the connection ends.
func (c *conn) writeControl() {
	for {
		select {
		case <-c.wake:
		case <-c.ctx.Done():
			return
		}
		c.write(nil, nil)
	}
}

// write writes the queue, and then head and data with nothing between them.
func (c *conn) write(head, data []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	c.joined = append(append(c.joined[:0], c.control...), head...)
	c.control = nil
	c.mu.Unlock()
	if len(data) < usualFrame { // copying is cheaper than a second buffer
		c.joined, data = append(c.joined, data...), nil
	}
	buffers := make(net.Buffers, 0, 2)
	for _, b := range [][]byte{c.joined, data} {
		if len(b) > 0 {
			buffers = append(buffers, b)
		}
	}
	var err error
	if own, ok := c.net.(BuffersWriter); ok {
		err = own.WriteBuffers(buffers)
	} else {
		_, err = buffers.WriteTo(c.net) // one system call if it is a socket
	}
	if err != nil {
		c.cancel(err)
	}
	return err
}

// A BuffersWriter is a connection that is no socket and writes several buffers with one system call.
type BuffersWriter interface {
	// WriteBuffers writes the buffers in order, and may change the list. It returns nil only if it has written all. One goroutine at
	// a time calls it.
	WriteBuffers(net.Buffers) error
}
