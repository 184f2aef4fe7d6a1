package h2

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2/hpack"
)

// connect serves one end of a pipe, and closes it with the test. ended is closed when the connection has ended.
func connect(t *testing.T, handler func(*Stream)) (peer net.Conn, log *bytes.Buffer, ended chan struct{}) {
	log = new(bytes.Buffer)
	peer, _, ended = serve(t, handler, log)
	return peer, log, ended
}

func serve(t *testing.T, handler func(*Stream), log io.Writer) (peer net.Conn, server *Server, ended chan struct{}) {
	peer, served := net.Pipe()
	ended = make(chan struct{})
	server = &Server{Handler: handler, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	go func() {
		server.ServeConn(served)
		close(ended)
	}()
	t.Cleanup(func() {
		peer.Close()
		<-ended
	})
	return peer, server, ended
}

// fields returns a header block of pairs of a name and its value.
func fields(pairs ...string) []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	e.SetMaxDynamicTableSizeLimit(0)
	for ; len(pairs) > 0; pairs = pairs[2:] {
		e.WriteField(hpack.HeaderField{Name: pairs[0], Value: pairs[1]})
	}
	return block.Bytes()
}

// headers returns the frame of a request for a path.
func headers(stream uint32, flags byte, path string, more ...string) []byte {
	block := fields(append([]string{":method", "GET", ":path", path}, more...)...)
	return append(appendHead(nil, frameHeaders, flags, stream, len(block)), block...)
}

// data returns a frame of a body.
func data(stream uint32, flags byte, body string) []byte {
	return append(appendHead(nil, frameData, flags, stream, len(body)), body...)
}

// TestAPeerThatDoesNotAnswer is pinged after a while, and left after as long again.
func TestAPeerThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, log, ended := connect(t, nil)
		go io.Copy(io.Discard, peer)
		io.WriteString(peer, preface)
		peer.Write(appendSettings(nil))
		time.Sleep(2*quiet - time.Second)
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("it ended early")
		default:
		}
		time.Sleep(time.Second)
		<-ended
		if !strings.Contains(log.String(), errSilent.Error()) {
			t.Errorf("log: %s", log)
		}
	})
}

// TestAPeerThatAnswersPings is kept, even if it asks for nothing.
func TestAPeerThatAnswersPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, _, ended := connect(t, nil)
		pings := 0
		go func() {
			var buf []byte
			for {
				f, err := readFrame(peer, &buf)
				if err != nil {
					return
				}
				if f.kind == framePing {
					pings++
					peer.Write(append(appendHead(nil, framePing, flagAck, 0, 8), f.payload...))
				}
			}
		}()
		io.WriteString(peer, preface)
		peer.Write(appendSettings(nil))
		time.Sleep(10*quiet + time.Second)
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("it ended")
		default:
		}
		if pings != 10 {
			t.Errorf("%d pings", pings)
		}
	})
}

// TestWhatTheProtocolForbids ends the connection.
func TestWhatTheProtocolForbids(t *testing.T) {
	const end = flagEnd | flagEndHeaders
	for name, sent := range map[string][]byte{
		"no preface":              []byte("GET / HTTP/1.1\r\nHost: agent\r\n\r\n"),
		"a frame that is long":    append([]byte(preface), 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1),
		"an even stream":          slices.Concat([]byte(preface), headers(2, end, "/")),
		"headers that are broken": slices.Concat([]byte(preface), appendHead(nil, frameHeaders, end, 1, 1), []byte{0xff}),
		"headers that go on":      slices.Concat([]byte(preface), headers(1, 0, "/"), appendHead(nil, framePing, 0, 0, 8), make([]byte, 8)),
		"no path":                 slices.Concat([]byte(preface), appendHead(nil, frameHeaders, end, 1, 1), []byte{0x82}),
		"data of no stream":       slices.Concat([]byte(preface), appendHead(nil, frameData, 0, 1, 0)),
		"data after the end":      slices.Concat([]byte(preface), headers(1, end, "/wait"), appendHead(nil, frameData, 0, 1, 1), []byte{0}),
		"padding that is long":    slices.Concat([]byte(preface), headers(1, flagEndHeaders, "/wait"), appendHead(nil, frameData, flagPadded, 1, 1), []byte{9}),
		"a window of 0":           slices.Concat([]byte(preface), appendNumber(nil, frameWindowUpdate, 0, 0)),
		"a window that overflows": slices.Concat([]byte(preface), appendNumber(nil, frameWindowUpdate, 0, largestWindow)),
		"settings of 5 bytes":     slices.Concat([]byte(preface), appendHead(nil, frameSettings, 0, 0, 5), make([]byte, 5)),
		"a setting too large":     slices.Concat([]byte(preface), appendSettings(nil, settingWindow, 1<<31)),
		"frames that are small":   slices.Concat([]byte(preface), appendSettings(nil, settingMaxFrame, 100)),
		"a push promise":          slices.Concat([]byte(preface), appendHead(nil, framePushPromise, 0, 1, 0)),
		"a reset of no stream":    slices.Concat([]byte(preface), appendNumber(nil, frameReset, 1, 0)),
		"a reset of 3 bytes":      slices.Concat([]byte(preface), appendHead(nil, frameReset, 0, 1, 3), make([]byte, 3)),
		"a window of no stream":   slices.Concat([]byte(preface), appendNumber(nil, frameWindowUpdate, 1, 1)),
		"a window of 5 bytes":     slices.Concat([]byte(preface), appendHead(nil, frameWindowUpdate, 0, 0, 5), make([]byte, 5)),
		"a window by a setting": slices.Concat([]byte(preface), headers(1, flagEndHeaders, "/wait"),
			appendNumber(nil, frameWindowUpdate, 1, largestWindow-usualWindow), appendSettings(nil, settingWindow, usualWindow+1)),
		"frames that are too long": slices.Concat([]byte(preface), appendSettings(nil, settingMaxFrame, 1<<24)),
		"settings of a stream":     slices.Concat([]byte(preface), appendHead(nil, frameSettings, 0, 1, 0)),
		"settings that are known":  slices.Concat([]byte(preface), appendHead(nil, frameSettings, flagAck, 0, 6), make([]byte, 6)),
		"a ping of a stream":       slices.Concat([]byte(preface), appendHead(nil, framePing, 0, 1, 8), make([]byte, 8)),
		"a short priority":         slices.Concat([]byte(preface), appendHead(nil, framePriority, 0, 1, 4), make([]byte, 4)),
		"headers of no stream":     slices.Concat([]byte(preface), headers(0, end, "/")),
		"headers that are empty":   slices.Concat([]byte(preface), headers(1, 0, "/"), appendHead(nil, frameContinuation, 0, 1, 0)),
		"headers that are long":    slices.Concat([]byte(preface), headers(1, end, strings.Repeat("&", maxHeaders))),
		"headers that are cut":     slices.Concat([]byte(preface), appendHead(nil, frameHeaders, end, 1, 2), []byte{0x82, 0x40}),
		"a table that is large":    slices.Concat([]byte(preface), appendHead(nil, frameHeaders, end, 1, 3), []byte("\x3f\xe2\x1f")),
		"a name in upper case":     slices.Concat([]byte(preface), headers(1, end, "/", "Content-Length", "0")),
		"a length that is none":    slices.Concat([]byte(preface), headers(1, end, "/", "content-length", "+1")),
		"a body that is missing":   slices.Concat([]byte(preface), headers(1, end, "/wait", "content-length", "1")),
		"a body that is long":      slices.Concat([]byte(preface), headers(1, flagEndHeaders, "/wait", "content-length", "1"), data(1, 0, "ab")),
		"a body that is short":     slices.Concat([]byte(preface), headers(1, flagEndHeaders, "/wait", "content-length", "2"), data(1, flagEnd, "a")),
		"a body that trailers cut": slices.Concat([]byte(preface), headers(1, flagEndHeaders, "/wait", "content-length", "2"), headers(1, end, "/")),
		"trailers after the end":   slices.Concat([]byte(preface), headers(1, end, "/wait"), headers(1, end, "/")),
		"trailers that do not end": slices.Concat([]byte(preface), headers(1, flagEndHeaders, "/wait"), headers(1, flagEndHeaders, "/")),
		"a short ping":             slices.Concat([]byte(preface), appendHead(nil, framePing, 0, 0, 0)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer, log, ended := connect(t, func(s *Stream) {
					if s.Path == "/wait" {
						<-s.Context().Done()
					}
				})
				go io.Copy(io.Discard, peer)
				peer.Write(sent)
				<-ended
				if !strings.Contains(log.String(), "protocol error") {
					t.Errorf("log: %s", log)
				}
			})
		})
	}
}

// TestAPeerThatSendsMoreThanTheWindow would fill the memory.
func TestAPeerThatSendsMoreThanTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, log, ended := connect(t, func(s *Stream) { <-s.Context().Done() })
		go io.Copy(io.Discard, peer)
		peer.Write(slices.Concat([]byte(preface), headers(1, flagEndHeaders, "/")))
		data := data(1, 0, strings.Repeat("x", usualFrame))
		for range streamWindow / usualFrame {
			if _, err := peer.Write(data); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if log.Len() > 0 {
			t.Fatalf("it ended early: %s", log)
		}
		peer.Write(data)
		<-ended
		if !strings.Contains(log.String(), "more data than the stream takes") {
			t.Errorf("log: %s", log)
		}
	})
}

// TestAPeerThatReadsNothing: its requests for answers do not fill the memory.
func TestAPeerThatReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, log, ended := connect(t, nil)
		io.WriteString(peer, preface)
		pings := bytes.Repeat(append(appendHead(nil, framePing, 0, 0, 8), make([]byte, 8)...), 2*maxControl/17)
		if _, err := peer.Write(pings); err == nil {
			t.Error("all was taken")
		}
		<-ended
		if !strings.Contains(log.String(), "does not read") {
			t.Errorf("log: %s", log)
		}
	})
}

// TestASmallWindow: an answer stays within the peer's windows and frames, and continues as they open.
func TestASmallWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := bytes.Repeat([]byte("0123456789"), 10_000)
		peer, _, _ := connect(t, func(s *Stream) { s.Write(body) })
		go peer.Write(slices.Concat([]byte(preface), appendSettings(nil, settingWindow, 1000), headers(1, flagEnd|flagEndHeaders, "/")))
		var got, buf []byte
		for {
			f, err := readFrame(peer, &buf)
			if err != nil {
				t.Fatal(err)
			}
			if f.kind != frameData {
				continue
			}
			if len(f.payload) > 1000 {
				t.Fatalf("%d bytes at once", len(f.payload))
			}
			got = append(got, f.payload...)
			if f.has(flagEnd) {
				break
			}
			n := uint32(len(f.payload))
			go peer.Write(appendNumber(appendNumber(nil, frameWindowUpdate, 0, n), frameWindowUpdate, 1, n))
		}
		if !bytes.Equal(got, body) {
			t.Errorf("%d bytes came", len(got))
		}
	})
}

// TestWindowsOfZeroAndLess: the headers of an answer do not wait for a window, and its body waits until there is room again.
func TestWindowsOfZeroAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, _, _ := connect(t, func(s *Stream) { s.Write(make([]byte, 100_000)) })
		var frames []frame
		go func() {
			for {
				var buf []byte
				f, err := readFrame(peer, &buf)
				if err != nil {
					return
				}
				if f.stream == 1 {
					frames = append(frames, f)
				}
			}
		}()
		expect := func(kind byte, size int) {
			t.Helper()
			synctest.Wait()
			if len(frames) != 1 || frames[0].kind != kind || size > 0 && len(frames[0].payload) != size {
				t.Fatalf("%v", frames)
			}
			frames = nil
		}
		peer.Write(slices.Concat([]byte(preface), appendSettings(nil, settingWindow, 0), headers(1, flagEnd|flagEndHeaders, "/")))
		expect(frameHeaders, 0)
		peer.Write(appendSettings(nil, settingWindow, 1000))
		expect(frameData, 1000)
		peer.Write(appendSettings(nil, settingWindow, 600)) // leaves -400
		peer.Write(appendNumber(nil, frameWindowUpdate, 1, 400))
		if synctest.Wait(); len(frames) > 0 {
			t.Fatalf("%v", frames)
		}
		peer.Write(appendNumber(nil, frameWindowUpdate, 1, 1))
		expect(frameData, 1)
	})
}

// TestAPeerThatStopsReading: a handler that writes, and one that waits to write, end with the connection.
func TestAPeerThatStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed atomic.Int32
		peer, _, ended := connect(t, func(s *Stream) {
			if _, err := s.Write(make([]byte, 20<<10)); err != nil {
				failed.Add(1)
			}
		})
		peer.Write(slices.Concat([]byte(preface), headers(1, flagEnd|flagEndHeaders, "/"), headers(3, flagEnd|flagEndHeaders, "/")))
		peer.Close()
		if <-ended; failed.Load() != 2 {
			t.Errorf("%d failed", failed.Load())
		}
	})
}

// TestAResetWhileAHandlerWrites does not touch another stream.
func TestAResetWhileAHandlerWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		peer, log, _ := connect(t, func(s *Stream) {
			if s.Path == "/large" {
				_, err := s.Write(make([]byte, 1<<20)) // waits for a window
				failed <- err
			}
		})
		answered := make(map[uint32]bool)
		go func() {
			for {
				var buf []byte
				f, err := readFrame(peer, &buf)
				if err != nil {
					return
				}
				answered[f.stream] = answered[f.stream] || f.has(flagEnd)
			}
		}()
		peer.Write(slices.Concat([]byte(preface), headers(1, flagEndHeaders, "/large"), data(1, 0, "some")))
		synctest.Wait()
		peer.Write(slices.Concat(appendNumber(nil, frameReset, 1, 8), data(1, 0, "late"), headers(1, flagEnd|flagEndHeaders, "/"),
			appendNumber(nil, frameWindowUpdate, 1, 9), headers(3, flagEnd|flagEndHeaders, "/")))
		if err := <-failed; err != errReset {
			t.Error(err)
		}
		synctest.Wait()
		if answered[1] || !answered[3] || log.Len() > 0 {
			t.Errorf("answered: %v; log: %s", answered, log)
		}
	})
}

func TestSettingsAreAcknowledgedAndTrailersEndABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := make(chan string, 1)
		peer, _, _ := connect(t, func(s *Stream) {
			b, err := io.ReadAll(s)
			body <- string(b)
			if err != nil {
				t.Error(err)
			}
		})
		acknowledged := make(chan bool, 1)
		go func() {
			var buf []byte
			for {
				f, err := readFrame(peer, &buf)
				if err != nil {
					return
				}
				if f.kind == frameSettings && f.has(flagAck) {
					acknowledged <- true
				}
			}
		}()
		trailer := fields("x-trailer", "1")
		peer.Write(slices.Concat([]byte(preface), appendSettings(nil, 0x99, 1), headers(1, flagEndHeaders, "/"),
			appendHead(nil, frameData, flagPadded, 1, 5), []byte{2}, []byte("ab\x00\x00"),
			appendHead(nil, frameHeaders, flagEnd, 1, 2), trailer[:2],
			appendHead(nil, frameContinuation, flagEndHeaders, 1, len(trailer)-2), trailer[2:]))
		<-acknowledged
		if got := <-body; got != "ab" {
			t.Errorf("%q", got)
		}
	})
}
