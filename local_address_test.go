package berth_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
)

// TestLocalAddressesThatAreNotSpokenTo: the error says what to do, at once and without a connection.
func TestLocalAddressesThatAreNotSpokenTo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, c := range []struct {
		host, verify string
		want         []string
	}{
		{host: "ssh://wile:" + secret + "@build.example", want: []string{"ssh", "-L ", "DOCKER_HOST=unix://"}},
		{host: "npipe:////./pipe/docker_engine", want: []string{"named pipe", "WSL", "tcp://localhost:2375"}},
		{host: "tcp://" + listener.Addr().String(), verify: "1", want: []string{"DOCKER_TLS_VERIFY", "DOCKER_HOST=unix://", "New"}},
	} {
		t.Run(c.want[0], func(t *testing.T) {
			t.Setenv("DOCKER_HOST", c.host)
			t.Setenv("DOCKER_TLS_VERIFY", c.verify)
			p, err := berth.NewLocalProvider(t.Context(), berth.Config{})
			if err == nil {
				p.Close()
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error holds a password: %v", err)
			}
		})
	}
	listener.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Millisecond))
	if conn, err := listener.Accept(); err == nil {
		conn.Close()
		t.Error("somebody has connected")
	}
}

// TestLocalSocketNeedsNoTLS: DOCKER_TLS_VERIFY is about engines at the other end of a network.
func TestLocalSocketNeedsNoTLS(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
	t.Setenv("DOCKER_TLS_VERIFY", "1")
	_, err := berth.NewLocalProvider(t.Context(), berth.Config{})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/docker.sock") {
		t.Errorf("%v, want that nothing is there", err)
	}
}
