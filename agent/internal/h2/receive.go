package h2

import (
	"encoding/binary"
	"slices"
)

// take handles a frame of any type except headers.
func (c *conn) take(f frame) error {
	switch f.kind {
	case frameData:
		return c.takeData(f)
	case frameSettings:
		return c.takeSettings(f)
	case frameWindowUpdate:
		return c.takeWindow(f)
	case frameReset:
		return c.takeReset(f)
	case framePing:
		return c.takePing(f)
	case framePushPromise, frameContinuation:
		return protocolError("unexpected frame of type %d", f.kind)
	}
	return nil // unknown types, priorities and farewells are ignored
}

// takeReset ends a stream.
func (c *conn) takeReset(f frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.stream > c.last {
		return protocolError("a reset of stream %d, which is not open", f.stream)
	}
	if s := c.streams[f.stream]; s != nil {
		s.end(errReset)
	}
	return nil
}

// takePing answers a ping.
func (c *conn) takePing(f frame) error {
	if f.has(flagAck) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue(append(appendHead(nil, framePing, flagAck, 0, 8), f.payload...))
	return nil
}

// takeHeaders reads the rest of a header block and starts its request.
func (c *conn) takeHeaders(f frame) error {
	block, err := f.unpad()
	if err != nil {
		return err
	}
	id, ends := f.stream, f.has(flagEnd)
	block = slices.Clone(block)
	for !f.has(flagEndHeaders) && len(block) <= maxHeaders {
		if f, err = readFrame(c.in, &c.buf); err != nil {
			return err
		}
		if f.kind != frameContinuation || f.stream != id || len(f.payload) == 0 { // empty ones could come for ever
			return protocolError("a header block that does not end")
		}
		block = append(block, f.payload...)
	}
	if len(block) > maxHeaders {
		return protocolError("a header block of %d bytes or more", len(block))
	}
	h, err := c.decode(block) // also for a stream that is refused: the next block depends on it
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if id <= c.last {
		return c.takeTrailers(id, ends)
	}
	if id%2 == 0 {
		return protocolError("a request on stream %d", id)
	}
	c.last = id
	if len(c.streams) >= maxStreams {
		c.queue(appendNumber(nil, frameReset, id, codeRefused))
		return nil
	}
	s, err := newStream(c, id, h, ends)
	if err != nil {
		return err
	}
	c.streams[id] = s
	c.running.Go(s.run)
	return nil
}

// takeTrailers takes the headers behind a body as its end. The lock is held.
func (c *conn) takeTrailers(id uint32, ends bool) error {
	s := c.streams[id]
	if s == nil || s.err != nil { // it has been answered, or given up
		return nil
	}
	if !ends {
		return protocolError("trailers that do not end stream %d", id)
	}
	return s.receive(nil, true)
}

// takeData stores a part of a request's body.
func (c *conn) takeData(f frame) error {
	b, err := f.unpad()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.stream > c.last {
		return protocolError("data of stream %d, which is not open", f.stream)
	}
	if c.recvWindow -= len(f.payload); c.recvWindow < 0 {
		return protocolError("more data than the connection takes")
	}
	s := c.streams[f.stream]
	if s == nil || s.err != nil { // it has been answered, or given up
		c.give(nil, len(f.payload))
		return nil
	}
	if s.recvWindow -= len(f.payload); s.recvWindow < 0 {
		return protocolError("more data than the stream takes")
	}
	c.give(s, len(f.payload)-len(b))
	return s.receive(b, f.has(flagEnd))
}

// give opens the windows by n bytes that were taken. It tells the peer when they add up to a quarter of a window. The lock is
// held. s may be nil.
func (c *conn) give(s *Stream, n int) {
	if c.owed += n; c.owed >= connWindow/4 {
		c.queue(appendNumber(nil, frameWindowUpdate, 0, uint32(c.owed)))
		c.recvWindow, c.owed = c.recvWindow+c.owed, 0
	}
	if s == nil || s.received || s.err != nil {
		return
	}
	if s.owed += n; s.owed >= streamWindow/4 {
		c.queue(appendNumber(nil, frameWindowUpdate, s.id, uint32(s.owed)))
		s.recvWindow, s.owed = s.recvWindow+s.owed, 0
	}
}

// takeWindow opens a window for sending.
func (c *conn) takeWindow(f frame) error {
	n := int(binary.BigEndian.Uint32(f.payload) & largestWindow)
	c.mu.Lock()
	defer c.mu.Unlock()
	window := &c.sendWindow
	if f.stream != 0 {
		s := c.streams[f.stream]
		if f.stream > c.last {
			return protocolError("a window update of stream %d, which is not open", f.stream)
		}
		if s == nil {
			return nil
		}
		window = &s.sendWindow
	}
	if *window += n; n == 0 || *window > largestWindow {
		return protocolError("a window update of %d", n)
	}
	c.room.Broadcast()
	return nil
}

// takeSettings applies the peer's settings and acknowledges them.
func (c *conn) takeSettings(f frame) error {
	if f.has(flagAck) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for b := f.payload; len(b) > 0; b = b[6:] {
		value := int(binary.BigEndian.Uint32(b[2:]))
		switch binary.BigEndian.Uint16(b) {
		case settingWindow:
			if value > largestWindow {
				return protocolError("a window of %d", value)
			}
			for _, s := range c.streams {
				if s.sendWindow += value - c.peerWindow; s.sendWindow > largestWindow {
					return protocolError("a setting that makes a window of %d", s.sendWindow)
				}
			}
			c.peerWindow = value
		case settingMaxFrame:
			if value < usualFrame || value > largestFrame {
				return protocolError("frames of %d bytes", value)
			}
			c.peerFrame = value
		}
	}
	c.room.Broadcast()
	c.queue(appendHead(nil, frameSettings, flagAck, 0, 0))
	return nil
}
