package h2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The types of frames.
const (
	frameData byte = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePushPromise
	framePing
	frameGoAway
	frameWindowUpdate
	frameContinuation
)

// The flags of frames.
const (
	flagEnd        = 0x1 // of data and headers: the last of its stream
	flagAck        = 0x1 // of settings and pings
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// The settings that matter here.
const (
	settingMaxStreams = 0x3
	settingWindow     = 0x4
	settingMaxFrame   = 0x5
)

// The codes of resets.
const (
	codeNone     = 0x0
	codeInternal = 0x2
	codeRefused  = 0x7
)

const (
	preface       = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // what a client sends first
	frameHead     = 9                                  // bytes before a frame's payload
	usualFrame    = 16 << 10                           // the payload that a peer takes if it says nothing else
	usualWindow   = 64<<10 - 1                         // the windows that hold if no setting changes them
	largestWindow = 1<<31 - 1
	largestFrame  = 1<<24 - 1
)

// errProtocol says that the peer sent something that the protocol does not allow.
var errProtocol = errors.New("http2: protocol error")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errProtocol, fmt.Sprintf(format, args...))
}

type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f frame) has(flag byte) bool { return f.flags&flag != 0 }

// readFrame reads one frame into buf, which it makes larger if it must. The payload is part of buf.
func readFrame(r io.Reader, buf *[]byte) (f frame, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if n > maxFrame {
		return f, protocolError("a frame of %d bytes", n)
	}
	if n > cap(*buf) {
		*buf = make([]byte, n)
	}
	f = frame{head[3], head[4], binary.BigEndian.Uint32(head[5:]) & largestWindow, (*buf)[:n]}
	if _, err = io.ReadFull(r, f.payload); err != nil {
		return f, err
	}
	return f, f.check()
}

// check refuses a frame that its type does not allow on its stream, or not with so many bytes.
func (f frame) check() error {
	n, ok := len(f.payload), true
	switch f.kind {
	case frameData, frameHeaders, frameContinuation:
		ok = f.stream != 0
	case framePriority:
		ok = f.stream != 0 && n == 5
	case frameReset:
		ok = f.stream != 0 && n == 4
	case frameSettings:
		ok = f.stream == 0 && n%6 == 0 && (n == 0 || !f.has(flagAck))
	case framePing:
		ok = f.stream == 0 && n == 8
	case frameGoAway:
		ok = f.stream == 0
	case frameWindowUpdate:
		ok = n == 4
	}
	if !ok {
		return protocolError("a frame of type %d with %d bytes on stream %d", f.kind, n, f.stream)
	}
	return nil
}

// unpad removes padding, and the priority of headers.
func (f frame) unpad() ([]byte, error) {
	b, padding := f.payload, 0
	if f.has(flagPadded) {
		if len(b) < 1 {
			return nil, protocolError("no room for padding")
		}
		padding, b = int(b[0]), b[1:]
	}
	if f.kind == frameHeaders && f.has(flagPriority) {
		if len(b) < 5 {
			return nil, protocolError("no room for a priority")
		}
		b = b[5:]
	}
	if padding > len(b) {
		return nil, protocolError("too much padding")
	}
	return b[:len(b)-padding], nil
}

// appendHead appends the head of a frame with a payload of n bytes.
func appendHead(b []byte, kind, flags byte, stream uint32, n int) []byte {
	b = append(b, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

// appendNumber appends a frame whose payload is one number: a reset with its code, a window update with its increment.
func appendNumber(b []byte, kind byte, stream, number uint32) []byte {
	return binary.BigEndian.AppendUint32(appendHead(b, kind, 0, stream, 4), number)
}

// appendSettings appends a settings frame with pairs of an identifier and its value.
func appendSettings(b []byte, pairs ...uint32) []byte {
	b = appendHead(b, frameSettings, 0, 0, len(pairs)*3)
	for ; len(pairs) > 0; pairs = pairs[2:] {
		b = binary.BigEndian.AppendUint16(b, uint16(pairs[0]))
		b = binary.BigEndian.AppendUint32(b, pairs[1])
	}
	return b
}
