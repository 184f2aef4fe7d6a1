package h2_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/internal/h2"
)

// serve starts a server and returns a client of it, whose peer is net/http.
func serve(t *testing.T, handler func(*h2.Stream)) *http.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &h2.Server{Handler: handler, Log: slog.New(slog.DiscardHandler)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols:          protocols,
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		if err := <-served; !errors.Is(err, h2.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// random returns n bytes.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func echo(s *h2.Stream) {
	s.SetHeader("x-method", s.Method)
	s.SetHeader("x-path", s.Path)
	s.SetHeader("x-query", s.Query)
	s.SetHeader("x-length", fmt.Sprint(s.Length))
	io.Copy(s, s)
}

// TestEcho sends bodies around each limit: of a buffer, a frame, and the two windows.
func TestEcho(t *testing.T) {
	client := serve(t, echo)
	for _, n := range []int{0, 1, 100, 16<<10 - 1, 16 << 10, 16<<10 + 1, 64 << 10, 257 << 10, 1 << 20, 5 << 20} {
		for name, known := range map[string]bool{"length": true, "no length": false} {
			t.Run(fmt.Sprint(n, " bytes, ", name), func(t *testing.T) {
				sent := random(n)
				body, length := io.Reader(bytes.NewReader(sent)), int64(n)
				if !known {
					body, length = io.MultiReader(body), -1
				}
				resp, err := client.Post("http://agent/a/b%20c?d=e&f", "", body)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				got, err := io.ReadAll(resp.Body)
				if err != nil || !bytes.Equal(got, sent) {
					t.Errorf("%d bytes came back, %v", len(got), err)
				}
				h := resp.Header
				if resp.StatusCode != 200 || h.Get("x-method") != "POST" || h.Get("x-path") != "/a/b%20c" || h.Get("x-query") != "d=e&f" {
					t.Errorf("%s: %v", resp.Status, h)
				}
				if got := h.Get("x-length"); got != fmt.Sprint(length) {
					t.Errorf("length %s, want %d", got, length)
				}
			})
		}
	}
}

// TestHeadersOfAllKinds makes the client's table turn over and its strings take every printable byte.
func TestHeadersOfAllKinds(t *testing.T) {
	client := serve(t, echo)
	for i := range 300 {
		path := "/x" + strings.Repeat(string(rune('!'+i%('~'-'!'+1))), i) + fmt.Sprint(i)
		path = strings.NewReplacer("?", "", "#", "", "%", "").Replace(path)
		req, err := http.NewRequest("GET", "http://agent", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = path
		req.Header.Set(fmt.Sprint("X-", i), path)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("x-path"); got != path {
			t.Fatalf("path %q, want %q", got, path)
		}
	}
}

func TestStatus(t *testing.T) {
	client := serve(t, func(s *h2.Stream) {
		code := 0
		fmt.Sscan(s.Path[1:], &code)
		s.SetStatus(code)
	})
	for _, code := range []int{200, 202, 204, 400, 404, 405, 500} {
		resp, err := client.Get(fmt.Sprint("http://agent/", code))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != code {
			t.Errorf("%d, want %d", resp.StatusCode, code)
		}
	}
}

// TestManyAtOnce: streams share the connection's windows, and none starves.
func TestManyAtOnce(t *testing.T) {
	client := serve(t, echo)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			sent := random(300 << 10)
			resp, err := client.Post("http://agent/", "", bytes.NewReader(sent))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
		})
	}
	all.Wait()
}

// TestAThousandStreams are open at the same time and send both ways. Those of a third are given up on the way. No handler stays.
func TestAThousandStreams(t *testing.T) {
	const streams, chunk, chunks = 1000, 4 << 10, 10
	var handlers sync.WaitGroup
	var open atomic.Int32
	all := make(chan struct{})
	client := serve(t, func(s *h2.Stream) {
		handlers.Add(1)
		defer handlers.Done()
		if open.Add(1) == streams {
			close(all)
		}
		defer open.Add(-1)
		s.Flush()
		for b := make([]byte, chunk); ; {
			if _, err := io.ReadFull(s, b); err != nil {
				return
			}
			s.Write(b)
			s.Flush()
		}
	})
	var callers sync.WaitGroup
	for i := range streams {
		callers.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			body, in := io.Pipe()
			defer in.Close()
			req, err := http.NewRequestWithContext(ctx, "POST", "http://agent/", body)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			<-all
			sent, got := random(chunk), make([]byte, chunk)
			for j := range chunks {
				if i%3 == 0 && j == chunks/2 {
					cancel()
					return
				}
				in.Write(sent)
				if _, err := io.ReadFull(resp.Body, got); err != nil || !bytes.Equal(got, sent) {
					t.Errorf("stream %d: %v", i, err)
					return
				}
			}
			in.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || len(b) > 0 {
				t.Errorf("stream %d ends with %d bytes, %v", i, len(b), err)
			}
		})
	}
	callers.Wait()
	handlers.Wait()
}

// TestAnswersThatAreNotRead do not hold up others.
func TestAnswersThatAreNotRead(t *testing.T) {
	client := serve(t, func(s *h2.Stream) {
		if s.Path == "/large" {
			s.Write(make([]byte, 32<<20))
		}
	})
	resp, err := client.Get("http://agent/large")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	small, err := client.Get("http://agent/small")
	if err != nil {
		t.Fatal(err)
	}
	small.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != 32<<20 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestAReadThatOutlivesItsHandler fails, so that a goroutine that reads ends with the request.
func TestAReadThatOutlivesItsHandler(t *testing.T) {
	failed := make(chan error, 1)
	client := serve(t, func(s *h2.Stream) {
		begun := make(chan struct{})
		go func() {
			b := make([]byte, 3)
			io.ReadFull(s, b)
			close(begun)
			_, err := s.Read(b)
			failed <- err
		}()
		<-begun
	})
	body, hold := io.Pipe()
	go hold.Write([]byte("abc"))
	defer hold.Close()
	resp, err := client.Post("http://agent/", "", body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := <-failed; err == nil {
		t.Error("it does not fail")
	}
}

// TestBodiesAtOnce are whole, also if they come in many frames, and refused if they do not fit.
func TestBodiesAtOnce(t *testing.T) {
	client := serve(t, func(s *h2.Stream) {
		b, free, err := s.Body()
		if err != nil {
			s.SetStatus(400)
			return
		}
		s.Write(b)
		s.Flush()
		free()
	})
	for _, n := range []int{0, 1, 100_000, 900 << 10} {
		sent := random(n)
		for name, body := range map[string]io.Reader{"of a length": bytes.NewReader(sent), "of none": io.MultiReader(bytes.NewReader(sent))} {
			resp, err := client.Post("http://agent/", "", body)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes %s: %d came back, %v", n, name, len(got), err)
			}
		}
	}
	resp, err := client.Post("http://agent/", "", io.MultiReader(bytes.NewReader(make([]byte, 4<<20))))
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("a body of 4 MiB: %s", resp.Status)
		}
	}
}

// TestBodiesThatAreNotRead do not use up the connection's window.
func TestBodiesThatAreNotRead(t *testing.T) {
	client := serve(t, func(s *h2.Stream) { s.SetStatus(400) })
	for range 20 {
		resp, err := client.Post("http://agent/", "", bytes.NewReader(make([]byte, 900<<10)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Fatal(resp.Status)
		}
	}
}

// TestGivingUp: the handler's context ends, and its writes and reads fail.
func TestGivingUp(t *testing.T) {
	failed := make(chan error, 2)
	client := serve(t, func(s *h2.Stream) {
		s.Flush()
		<-s.Context().Done()
		_, err := s.Read(make([]byte, 1))
		failed <- err
		_, err = s.Write(make([]byte, 1<<20))
		failed <- err
	})
	ctx, cancel := context.WithCancel(t.Context())
	body, hold := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://agent/", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	hold.CloseWithError(context.Canceled) // the client waits for the body that it was given
	for range 2 {
		if err := <-failed; err == nil {
			t.Error("it goes on")
		}
	}
}

// TestFlush: the bytes before a Flush arrive while the handler continues.
func TestFlush(t *testing.T) {
	client := serve(t, func(s *h2.Stream) {
		for range 3 {
			io.WriteString(s, "x")
			s.Flush()
			s.Read(make([]byte, 1))
		}
	})
	body, in := io.Pipe()
	resp, err := client.Post("http://agent/", "", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for range 3 {
		if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		in.Write([]byte("y"))
	}
	in.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
}

// TestPanic: the client sees a failure, and the server goes on.
func TestPanic(t *testing.T) {
	client := serve(t, func(s *h2.Stream) {
		if s.Path == "/panic" {
			panic("oh")
		}
	})
	if resp, err := client.Get("http://agent/panic"); err == nil {
		t.Errorf("%s", resp.Status)
	}
	resp, err := client.Get("http://agent/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
