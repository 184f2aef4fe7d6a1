package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
)

// serving starts the server of world.Shell in a session, and returns a client for it.
func serving(t *testing.T, s *berth.Session) *http.Client {
	t.Helper()
	world.Start(t, s.Command(t.Context(), "serve"))
	synctest.Wait()
	transport := &http.Transport{DialContext: s.Dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func get(t *testing.T, c *http.Client, path string) {
	t.Helper()
	resp, err := c.Get("http://localhost" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != path {
		t.Errorf("%q, %v; want %q", body, err, path)
	}
}

// TestDialIsADialContext: HTTP works over Dial, and its port is listed.
func TestDialIsADialContext(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		if _, err := s.Dial(t.Context(), "tcp", "localhost:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial before there is a server: %v", err)
		}
		client := serving(t, s)
		for range 3 {
			get(t, client, "/hello")
		}
		ports, err := s.Ports(t.Context())
		if err != nil || len(ports) != 1 || ports[0].Address.String() != "127.0.0.1:80" || ports[0].Program != "serve" {
			t.Errorf("%+v, %v", ports, err)
		}
		other := w.Create("other", world.RepoA)
		if _, err := other.Dial(t.Context(), "tcp", "localhost:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("another session's port: %v", err)
		}
	})
}

// TestWatchPorts: it tells what listens at first, each change, and the end of the session, and does not keep the session from expiring.
func TestWatchPorts(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		told := make(chan string, 10)
		go func() {
			defer close(told)
			for ports, err := range s.WatchPorts(t.Context()) {
				if err != nil {
					told <- err.Error()
					if !errors.Is(err, berth.ErrExpired) {
						t.Errorf("the watch has ended with %v", err)
					}
					continue
				}
				told <- fmt.Sprint(len(ports))
			}
		}()
		wants := func(want string) {
			t.Helper()
			world.After(3 * time.Second)
			var got []string
			for len(told) > 0 {
				got = append(got, <-told)
			}
			if strings.Join(got, " ") != want {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		wants("0")
		server := s.Command(t.Context(), "serve")
		world.Start(t, server)
		wants("1")
		wants("")
		server.Signal(os.Kill)
		server.Wait()
		wants("0")
		<-s.Done()
		for range told {
		}
		for range s.WatchPorts(t.Context()) {
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		other := w.Create("other", world.RepoA)
		for ports, err := range other.WatchPorts(ctx) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v, %v", ports, err)
			}
		}
	})
}

// TestAnOpenConnectionKeepsTheSession, also when its server has ended.
func TestAnOpenConnectionKeepsTheSession(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		server := s.Command(t.Context(), "serve")
		world.Start(t, server)
		synctest.Wait()
		conn, err := s.Dial(t.Context(), "tcp", "localhost:80")
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v", err)
		}
		server.Signal(os.Kill)
		server.Wait()
		world.After(5 * time.Hour)
		if err := s.Err(); err != nil {
			t.Fatalf("the session has ended: %v", err)
		}
		conn.Close()
		<-s.Done()
		if err := s.Err(); !errors.Is(err, berth.ErrExpired) {
			t.Errorf("the session has ended with %v", err)
		}
		if _, err := s.Dial(t.Context(), "tcp", "localhost:80"); !errors.Is(err, berth.ErrExpired) {
			t.Errorf("Dial: %v", err)
		}
		if _, err := s.Ports(t.Context()); !errors.Is(err, berth.ErrExpired) {
			t.Errorf("Ports: %v", err)
		}
	})
}

// TestALostConnectionIsNoEnd: a reader must not take what it has for the whole.
func TestALostConnectionIsNoEnd(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(w *world.World, s *berth.Session)
		want error // nil = any but io.EOF: the server is gone before the instance is given up
	}{
		"container killed":   {func(w *world.World, s *berth.Session) { w.Engine.KillContainer(s.Info().Container.Name) }, berth.ErrContainerLost},
		"session terminated": {func(w *world.World, s *berth.Session) { w.TerminateSession(w.T.Context(), s.ID()) }, berth.ErrTerminated},
		"instance lost":      {func(w *world.World, s *berth.Session) { w.Cloud.Vanish(s.Info().Instance.ID) }, nil},
		"Provider closed":    {func(w *world.World, s *berth.Session) { w.Close() }, berth.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
				world.Start(t, s.Command(t.Context(), "serve"))
				synctest.Wait()
				conn, err := s.Dial(t.Context(), "tcp", "localhost:80")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				c.end(w, s)
				if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("Read: %v", err)
				}
				if _, err := conn.Write([]byte("x")); err == nil || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("Write: %v", err)
				}
			})
		})
	}
}
