package wall

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/egress"
)

// TestPins holds that sessions reach what a name of the list resolved to, for a time, and that a connection outlives its pin.
func TestPins(t *testing.T) {
	n := newNetwork(t)
	n.install(egress.AllowList, "proxy.example")
	pin := func(life time.Duration, addrs ...string) {
		n.in(n.container, func() error {
			var all []netip.Addr
			for _, a := range addrs {
				all = append(all, netip.MustParseAddr(a))
			}
			return Pin(all, life)
		})
	}
	for _, addr := range []string{"8.8.8.8", "2606:4700::1111"} {
		if err := n.dial(session, addr, nil); err == nil {
			t.Errorf("%s is reached before it is pinned", addr)
		}
	}
	pin(time.Hour, "8.8.8.8", "2606:4700::1111", "10.9.9.9", "fd99::9", "::ffff:169.254.169.254")
	pin(time.Hour, "8.8.8.8") // again
	for addr, want := range map[string]bool{"8.8.8.8": true, "2606:4700::1111": true, "10.9.9.9": false, "fd99::9": false, "169.254.169.254": false, "64:ff9b::8.8.8.8": false} {
		if err := n.dial(session, addr, nil); (err == nil) != want {
			t.Errorf("%s: %v", addr, err)
		}
	}
	n.install(egress.AllowList, "other.example", "52.1.2.3") // as when an address of the host has changed
	for addr, want := range map[string]bool{"8.8.8.8": true, "52.1.2.3": true, "10.9.9.9": false} {
		if err := n.dial(session, addr, nil); (err == nil) != want {
			t.Errorf("after the walls were put up again, %s: %v", addr, err)
		}
	}
	conn := n.open("8.8.8.8:81")
	pin(50*time.Millisecond, "8.8.8.8")
	for deadline := time.Now().Add(2 * time.Minute); n.dial(session, "8.8.8.8", nil) == nil; {
		if time.Now().After(deadline) {
			t.Fatal("the pin does not end")
		}
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("the connection has ended with its pin: %v", err)
	}
}

// open opens a connection of a session to a server that sends back what it gets.
func (n *network) open(addr string) (conn net.Conn) {
	n.t.Helper()
	n.in(n.away, func() error {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		n.t.Cleanup(func() { l.Close() })
		go func() {
			if conn, err := l.Accept(); err == nil {
				defer conn.Close()
				io.Copy(conn, conn)
			}
		}()
		return nil
	})
	err := n.as(session, func() (err error) {
		conn, err = net.DialTimeout("tcp", addr, 5*time.Second)
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}
