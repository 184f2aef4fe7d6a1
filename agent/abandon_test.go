package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent"
)

// TestAStartThatWasGivenUpIsKilledHoweverLateTheConnectionComesBack: it was under way when the connection broke.
func TestAStartThatWasGivenUpIsKilledHoweverLateTheConnectionComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &mute{conns: make(chan net.Conn), end: make(chan struct{}), killed: make(chan string, 1)}
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		server := &http.Server{Protocols: protocols, Handler: a}
		var served sync.WaitGroup
		served.Go(func() { server.Serve(a) })
		client := agent.NewClient(a.dial, agent.ClientOptions{})

		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		time.AfterFunc(time.Second, func() { a.cut(true) })
		if _, err := client.Start(ctx, agent.Command{Session: "s", Args: []string{"true"}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Start: %v", err)
		}
		time.Sleep(10 * time.Minute)
		a.cut(false)
		select {
		case <-a.killed:
		case <-time.After(time.Minute):
			t.Error("it was not killed")
		}
		client.Close()
		close(a.end)
		server.Close()
		served.Wait()
	})
}

// mute is an agent that never answers a start.
type mute struct {
	conns  chan net.Conn
	end    chan struct{}
	killed chan string // paths

	mu   sync.Mutex // protects what follows
	down bool
	open []net.Conn
}

func (a *mute) dial(context.Context) (net.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down {
		return nil, errors.New("the cable is cut")
	}
	ours, theirs := net.Pipe()
	a.open = append(a.open, ours)
	select {
	case a.conns <- theirs:
	case <-a.end:
	}
	return ours, nil
}

// cut breaks the connection, and keeps it from being made again, or not.
func (a *mute) cut(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = down
	for _, conn := range a.open {
		conn.Close()
	}
	a.open = nil
}

// Accept, Close and Addr make it the listener of its server.
func (a *mute) Accept() (net.Conn, error) {
	select {
	case conn := <-a.conns:
		return conn, nil
	case <-a.end:
		return nil, net.ErrClosed
	}
}
func (a *mute) Close() error   { return nil }
func (a *mute) Addr() net.Addr { return &net.TCPAddr{} }

// ServeHTTP implements [http.Handler].
func (a *mute) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/v1/hello":
		fmt.Fprint(w, `{"protocol":1,"oldest":1,"boot":"b"}`)
	case r.Method == http.MethodDelete && r.FormValue("kill") == "1":
		select {
		case a.killed <- r.URL.Path:
		default:
		}
	case r.URL.Path == "/v1/watch":
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	default:
		<-r.Context().Done()
	}
}
