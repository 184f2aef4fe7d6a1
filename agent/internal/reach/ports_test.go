package reach

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/berth-go/berth/agent/internal/agenttest"
)

// TestAllPortsAreTaken holds that the agent connects and looks names up when a session has taken all ports, and that no
// session can take those that are held.
func TestAllPortsAreTaken(t *testing.T) {
	agenttest.FewPorts(t, 40000, 40015, func() {
		held := holdPorts()
		defer held.release()
		if len(held.numbers) != heldPorts {
			t.Errorf("%d ports are held", len(held.numbers))
		}
		l, err := net.Listen("tcp4", "127.0.0.1:50000")
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		server, err := net.ListenPacket("udp4", "127.0.0.1:50000")
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		for port := 40000; port <= 40015; port++ {
			for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
				fd, err := syscall.Socket(syscall.AF_INET, kind|syscall.SOCK_CLOEXEC, 0)
				if err == nil {
					defer syscall.Close(fd)
					err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port})
				}
				if err != nil {
					t.Error(err)
				}
			}
		}
		var d net.Dialer
		if _, err := d.DialContext(context.Background(), "tcp", "127.0.0.1:50000"); !exhausted(err) {
			t.Errorf("ports are left: %v", err)
		}
		for _, network := range []string{"tcp", "udp"} {
			for n := range heldPorts {
				conn, err := held.dial(context.Background(), network, "127.0.0.1:50000")
				if err != nil {
					t.Errorf("%s %d: %v", network, n, err)
					break
				}
				defer conn.Close()
			}
			if _, err := held.dial(context.Background(), network, "127.0.0.1:50000"); !exhausted(err) {
				t.Errorf("%s: %v", network, err)
			}
		}
		steal(t, held.numbers[0])
	})
}

// steal tries to bind a held port as a session.
func steal(t *testing.T, port int) {
	if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), 10001, ^uintptr(0)); e != 0 {
		t.Error(e)
		return
	}
	for _, option := range []int{0, syscall.SO_REUSEADDR, soReusePort} {
		for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
			fd, err := syscall.Socket(syscall.AF_INET, kind|syscall.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
				continue
			}
			defer syscall.Close(fd)
			if option != 0 {
				syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, option, 1)
			}
			if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 2}}); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("option %d, kind %d: %v", option, kind, err)
			}
		}
	}
}
