package enginetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// serveAddress is where cmdServe listens.
var serveAddress = fmt.Sprintf("127.0.0.1:%d", servePort)

func (f *fixture) dial(in orchestrator.Inside, d agent.Dial) *agent.Conn {
	f.Helper()
	conn, err := in.Dial(f.ctx, d)
	if err != nil {
		f.Fatalf("Dial: %v", err)
	}
	f.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// packet is the form of what cmdServe reads and writes.
func packet(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

// refusal is what cmdServe answers to a request for a path.
func refusal(path string) string {
	return packet("ERR access denied or repository not exported: " + path)
}

// exchange asks cmdServe for a path, and checks its answer.
func (f *fixture) exchange(conn *agent.Conn, path string) {
	f.Helper()
	if _, err := io.WriteString(conn, packet("git-upload-pack "+path+"\x00host=localhost\x00")); err != nil {
		f.Errorf("Write: %v", err)
	}
	if err := conn.CloseWrite(); err != nil {
		f.Errorf("CloseWrite: %v", err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != refusal(path) {
		f.Errorf("the answer is %q, %v", got, err)
	}
}

var dialCases = []testCase{{
	rule: "a connection reaches what the session listens on, and one that is open keeps the session from being idle",
	test: func(f *fixture) {
		_, in, s := f.opened()
		server, _ := f.said(in, agent.Command{Session: s.ID, Args: cmdServe}, "")
		ports, err := in.Ports(f.ctx, s.ID)
		if err != nil || len(ports) != 1 || ports[0].Addr.String() != serveAddress || ports[0].Pid == 0 || ports[0].Program == "" {
			f.Errorf("Ports: %+v, %v", ports, err)
		}
		ended := make(chan struct{})
		to := agent.Dial{Session: s.ID, Network: "tcp", Address: fmt.Sprintf("localhost:%d", servePort), Ended: func() { close(ended) }}
		conn := f.dial(in, to)
		if conn.RemoteAddr().String() != serveAddress {
			f.Errorf("it is connected with %v", conn.RemoteAddr())
		}
		f.exchange(conn, "/none")
		if err := conn.Close(); err != nil {
			f.Errorf("Close: %v", err)
		}
		if _, ok := received(ended, patience); !ok {
			f.Error("it has not ended")
		}

		to.Ended = nil
		open := f.dial(in, to)
		var all sync.WaitGroup
		for i := range 100 {
			conn := f.dial(in, to)
			all.Go(func() { f.exchange(conn, fmt.Sprintf("/none-%d", i)) })
		}
		all.Wait()

		open.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := open.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			f.Errorf("Read behind the deadline: %v", err)
		}
		open.SetReadDeadline(time.Time{})
		if err := server.Kill(f.ctx); err != nil {
			f.Fatal(err)
		}
		f.wantBusy(in, s.ID) // by the connections
		if _, err := io.ReadAll(open); errors.Is(err, os.ErrDeadlineExceeded) {
			f.Errorf("Read when the server is gone: %v", err)
		}
	},
}, {
	rule: "a connection reaches nothing but what the session listens on",
	test: func(f *fixture) {
		_, in, s := f.opened()
		other := f.session("s2")
		f.open(in, other)
		f.said(in, agent.Command{Session: s.ID, Args: cmdServe}, "")
		for _, c := range []struct {
			d    agent.Dial
			want error // nil = any
		}{
			{agent.Dial{Session: other.ID, Network: "tcp", Address: serveAddress}, syscall.ECONNREFUSED},
			{agent.Dial{Session: other.ID, Network: "tcp", Address: fmt.Sprintf(":%d", servePort)}, syscall.ECONNREFUSED},
			{agent.Dial{Session: s.ID, Network: "tcp", Address: "127.0.0.1:8124"}, syscall.ECONNREFUSED},
			{agent.Dial{Session: s.ID, Network: "tcp", Address: "192.0.2.1:8123"}, nil},
			{agent.Dial{Session: s.ID, Network: "tcp", Address: "host.example:8123"}, nil},
			{agent.Dial{Session: s.ID, Network: "unix", Address: "/berth/run/agent.sock"}, nil},
			{agent.Dial{Session: "never-opened", Network: "tcp", Address: serveAddress}, agent.ErrUnknownSession},
		} {
			conn, err := in.Dial(f.ctx, c.d)
			if err == nil {
				conn.Close()
			}
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				f.Errorf("%+v: %v; want %v", c.d, err, c.want)
			}
		}
		if ports, err := in.Ports(f.ctx, other.ID); err != nil || len(ports) != 0 {
			f.Errorf("another session's ports are %+v, %v", ports, err)
		}
		_, err := in.Ports(f.ctx, "never-opened")
		f.wantErr("Ports", err, agent.ErrUnknownSession)
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		_, err = in.Dial(ctx, agent.Dial{Session: s.ID, Network: "tcp", Address: serveAddress})
		f.wantErr("Dial with a context that has ended", err, context.Canceled)
	},
}, {
	rule: "a connection that is lost ends with an error",
	test: func(f *fixture) {
		_, in, s := f.opened()
		f.said(in, agent.Command{Session: s.ID, Args: cmdServe}, "")
		conn := f.dial(in, agent.Dial{Session: s.ID, Network: "tcp", Address: serveAddress})
		if err := in.Close(); err != nil {
			f.Fatal(err)
		}
		_, err := io.ReadAll(conn)
		f.wantErr("Read", err, agent.ErrClosed)
		_, err = conn.Write([]byte("x"))
		f.wantErr("Write", err, agent.ErrClosed)
	},
}, {
	rule: "a connection whose session ends is lost, and not at its end",
	test: func(f *fixture) {
		_, in, s := f.opened()
		f.said(in, agent.Command{Session: s.ID, Args: cmdServe}, "")
		conn := f.dial(in, agent.Dial{Session: s.ID, Network: "tcp", Address: serveAddress})
		defer conn.Close()
		conn.Explain(func(err error) error { return fmt.Errorf("explained: %w", err) })
		if err := in.CloseSession(f.ctx, s.ID, s.UID); err != nil {
			f.Fatal(err)
		}
		if _, err := io.ReadAll(conn); err == nil || !strings.Contains(err.Error(), "explained: ") {
			f.Errorf("Read: %v; want an error that is explained", err)
		}
	},
}}
