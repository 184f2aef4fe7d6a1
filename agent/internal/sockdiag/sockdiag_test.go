package sockdiag_test

import (
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/berth-go/berth/agent/internal/sockdiag"
	"github.com/berth-go/berth/internal/test/need"
)

// TestTable: the kernel's table tells the same as Owner, for many that ask at once, and for a socket of IPv6 that is connected by IPv4.
func TestTable(t *testing.T) {
	need.Root(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var table sockdiag.Table
	own := netip.MustParseAddrPort(l.Addr().String())
	var all sync.WaitGroup
	for i := range 40 {
		conn := dialAs(t, 10001+i%2, "tcp4", l.Addr().String())
		defer conn.Close()
		peer := netip.MustParseAddrPort(conn.LocalAddr().String())
		all.Go(func() {
			if uid, known, err := table.Owner(peer, own); err != nil || !known || uid != uint32(10001+i%2) {
				t.Errorf("the client's is %d, %v, %v", uid, known, err)
			}
			if uid, known, err := table.Owner(netip.AddrPortFrom(peer.Addr(), 1), own); err != nil || known {
				t.Errorf("nobody's is %d, %v, %v", uid, known, err)
			}
		})
	}
	all.Wait()
	port, mapped := connectMapped(t, 10003, int(own.Port()))
	defer syscall.Close(mapped)
	if uid, known, err := table.Owner(netip.AddrPortFrom(own.Addr(), port), own); err != nil || !known || uid != 10003 {
		t.Errorf("that of a socket of IPv6 is %d, %v, %v", uid, known, err)
	}
}

// connectMapped connects a socket of IPv6 with a port of 127.0.0.1, under a uid, and returns its own port.
func connectMapped(t *testing.T, uid, to int) (port uint16, fd int) {
	t.Helper()
	done := make(chan error)
	go func() {
		done <- as(uid, func() (err error) {
			if fd, err = syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0); err != nil {
				return err
			}
			return syscall.Connect(fd, &syscall.SockaddrInet6{Port: to, Addr: netip.MustParseAddr("::ffff:127.0.0.1").As16()})
		})
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(name.(*syscall.SockaddrInet6).Port), fd
}

// as calls a function under a uid. Its goroutine must end then, and with it the thread.
func as(uid int, fn func() error) error {
	runtime.LockOSThread()
	if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); e != 0 {
		return e
	}
	return fn()
}

// TestOwner tells the two ends of a connection apart: this program's, and that of another uid.
func TestOwner(t *testing.T) {
	need.Root(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, c := range []struct {
		network  string
		protocol byte
		to       net.Addr
	}{{"tcp4", syscall.IPPROTO_TCP, l.Addr()}, {"udp4", syscall.IPPROTO_UDP, p.LocalAddr()}} {
		conn := dialAs(t, 10001, c.network, c.to.String())
		defer conn.Close()
		peer, own := netip.MustParseAddrPort(conn.LocalAddr().String()), netip.MustParseAddrPort(c.to.String())
		if uid, known := sockdiag.Owner(c.protocol, peer, own); !known || uid != 10001 {
			t.Errorf("%s: the client's is %d, %v", c.network, uid, known)
		}
		if uid, known := sockdiag.Owner(c.protocol, own, peer); known && uid != 0 {
			t.Errorf("%s: the server's is %d", c.network, uid)
		}
		if uid, known := sockdiag.Owner(c.protocol, netip.AddrPortFrom(peer.Addr(), 1), own); known && uid == 10001 {
			t.Errorf("%s: nobody's is %d", c.network, uid)
		}
	}
}

// dialAs connects under a uid.
func dialAs(t *testing.T, uid int, network, address string) (conn net.Conn) {
	t.Helper()
	done := make(chan error)
	go func() {
		done <- as(uid, func() (err error) {
			conn, err = net.Dial(network, address)
			return err
		})
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return conn
}
