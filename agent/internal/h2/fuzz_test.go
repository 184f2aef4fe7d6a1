package h2

import (
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// anyway has a handler for each way of dealing with a request.
func anyway(s *Stream) {
	switch s.Path {
	case "/echo":
		io.Copy(s, s)
	case "/wait":
		s.Flush()
		<-s.Context().Done()
	case "/large":
		s.SetHeader("content-length", "300000")
		s.Write(make([]byte, 300_000))
	case "/panic":
		panic("oh")
	}
}

// talk is a conversation with a frame of each type.
func talk() [][]byte {
	return [][]byte{
		appendSettings(nil, settingWindow, 1000, settingMaxFrame, usualFrame),
		appendHead(nil, frameSettings, flagAck, 0, 0),
		headers(1, flagEndHeaders, "/echo", "content-length", "6"),
		data(1, 0, "abc"),
		append(appendHead(nil, frameData, flagPadded|flagEnd, 1, 6), "\x02abc\x00\x00"...),
		headers(3, flagEnd|flagEndHeaders, "/"),
		slices.Concat(headers(5, flagEnd, "/large"), appendHead(nil, frameContinuation, flagEndHeaders, 5, 1), []byte{0x86}),
		append(appendHead(nil, framePing, 0, 0, 8), "12345678"...),
		append(appendHead(nil, framePriority, 0, 7, 5), 0, 0, 0, 0, 1),
		append(appendHead(nil, frameGoAway, 0, 0, 12), "\x00\x00\x00\x00\x00\x00\x00\x00bye!"...),
		appendHead(nil, 0x77, 0, 9, 0),
		headers(7, flagEndHeaders, "/wait"),
		headers(7, flagEndHeaders|flagEnd, "/trailer"),
		appendNumber(nil, frameWindowUpdate, 5, 100),
		appendNumber(nil, frameReset, 7, 8),
		headers(9, flagEndHeaders, "/wait"),
		appendNumber(nil, frameWindowUpdate, 0, 1<<20),
	}
}

// TestALostConnection breaks a conversation off behind each of its bytes. No goroutine may stay.
func TestALostConnection(t *testing.T) {
	all := slices.Concat([]byte(preface), slices.Concat(talk()...))
	for n := range len(all) + 1 {
		synctest.Test(t, func(t *testing.T) {
			var log strings.Builder
			peer, _, ended := serve(t, anyway, &log)
			go io.Copy(io.Discard, peer)
			if _, err := peer.Write(all[:n]); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			peer.Close()
			<-ended
			if strings.Contains(log.String(), errProtocol.Error()) {
				t.Errorf("%d bytes: %s", n, log.String())
			}
		})
	}
}

// check compares what the peer may send with what is kept for the handlers.
func (c *conn) check(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := 0
	for id, s := range c.streams {
		kept += len(s.body)
		if sum := s.recvWindow + s.owed + len(s.body); sum != streamWindow && !s.received && s.err == nil {
			t.Errorf("stream %d accounts for %d bytes", id, sum)
		}
	}
	if sum := c.recvWindow + c.owed + kept; sum != connWindow {
		t.Errorf("the connection accounts for %d bytes", sum)
	}
	if len(c.control) > maxControl || len(c.buf) > maxFrame {
		t.Errorf("%d bytes wait to be written, the buffer has %d", len(c.control), len(c.buf))
	}
}

// FuzzConn sends any bytes behind the preface to handlers of all kinds. It fails after a panic, if a goroutine stays, and if
// bytes are lost between the windows.
func FuzzConn(f *testing.F) {
	all := slices.Concat(talk()...)
	f.Add(all, true)
	f.Add(all, false)
	for _, frame := range talk() {
		f.Add(frame, true)
	}
	for _, path := range []string{"/", "/wait", "/panic", "/large", "/echo"} {
		f.Add(slices.Concat(headers(1, flagEndHeaders, path), data(1, 0, strings.Repeat("x", 300)), appendNumber(nil, frameReset, 1, 8), data(1, flagEnd, "x"),
			headers(3, flagEnd|flagEndHeaders, path), appendSettings(nil, settingWindow, 0), appendNumber(nil, frameWindowUpdate, 3, 7)), true)
	}
	f.Fuzz(func(t *testing.T, sent []byte, reads bool) {
		synctest.Test(t, func(t *testing.T) {
			peer, server, ended := serve(t, anyway, io.Discard)
			if reads {
				go io.Copy(io.Discard, peer)
			}
			io.WriteString(peer, preface)
			peer.Write(sent)
			if !reads {
				return // handlers wait for a lock, which synctest does not wait for
			}
			synctest.Wait()
			select {
			case <-ended:
			default:
				server.mu.Lock()
				defer server.mu.Unlock()
				for c := range server.conns {
					c.check(t)
				}
			}
		})
	})
}
