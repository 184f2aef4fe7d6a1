package wall

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/egress"
)

// TestTricks tries what a session may do to its sockets.
func TestTricks(t *testing.T) {
	n := newNetwork(t)
	n.install(egress.Open)
	const ipUnicastIf, ipv6UnicastIf = 50, 76
	eth0 := 0
	n.in(n.container, func() error {
		i, err := net.InterfaceByName("eth0")
		if err == nil {
			eth0 = i.Index
		}
		return err
	})
	bigEndian := eth0<<24 | eth0>>24
	route := func(via, to [4]byte) string {
		return string([]byte{131, 11, 4, via[0], via[1], via[2], via[3], to[0], to[1], to[2], to[3], 0})
	}
	for _, addr := range []string{"8.8.8.8", "2606:4700::1111"} { // so that a trick is what fails below
		if err := n.dial(session, addr, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, try := range map[string]func() error{
		"another interface": func() error {
			return n.dial(session, "10.9.9.9", func(fd int) error {
				return syscall.SetsockoptString(fd, syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE, "eth0")
			})
		},
		"an interface for unicast": func() error {
			return n.dial(session, "10.9.9.9", func(fd int) error { return syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipUnicastIf, bigEndian) })
		},
		"an interface for unicast, IPv6": func() error {
			return n.dial(session, "fd99::9", func(fd int) error { return syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, ipv6UnicastIf, bigEndian) })
		},
		"a source": func() error {
			return n.dial(session, "10.9.9.9", func(fd int) error {
				return syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{172, 30, 0, 2}})
			})
		},
		"a source route by an allowed address": func() error {
			return n.dial(session, "10.9.9.9", func(fd int) error {
				return syscall.SetsockoptString(fd, syscall.IPPROTO_IP, syscall.IP_OPTIONS, route([4]byte{8, 8, 8, 8}, [4]byte{10, 9, 9, 9}))
			})
		},
		"options to an allowed address": func() error {
			return n.dial(session, "8.8.8.8", func(fd int) error {
				return syscall.SetsockoptString(fd, syscall.IPPROTO_IP, syscall.IP_OPTIONS, "\x01\x01\x01\x00")
			})
		},
		"IPv4 by a socket of IPv6": func() error { return n.dial(session, "::ffff:10.9.9.9", nil) },
		"a routing header to an allowed address": func() error {
			return n.dial(session, "2606:4700::1111", func(fd int) error {
				segment := netip.MustParseAddr("2606:4700::1111").As16()
				header := append([]byte{0, 2, 4, 0, 0, 0, 0, 0}, segment[:]...)
				return syscall.SetsockoptString(fd, syscall.IPPROTO_IPV6, 57, string(header)) // IPV6_RTHDR
			})
		},
		"data with the connection": func() error {
			return n.as(session, func() error {
				fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
				if err != nil {
					return nil
				}
				defer syscall.Close(fd)
				return syscall.Sendto(fd, []byte("x"), 0x20000000, &syscall.SockaddrInet4{Port: 80, Addr: [4]byte{10, 9, 9, 9}}) // MSG_FASTOPEN
			})
		},
	} {
		if err := try(); err == nil {
			t.Errorf("%s: it connects", name)
		}
	}
}

// TestDatagrams holds that none arrives, also not from a socket that is closed at once.
func TestDatagrams(t *testing.T) {
	n := newNetwork(t)
	send := func(uid int, to, what string) {
		addr := netip.MustParseAddrPort(to)
		err := n.as(uid, func() error {
			fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer syscall.Close(fd)
			syscall.Sendto(fd, []byte(what), 0, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}) // may be refused
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	arrived := func(to string) int64 {
		before := n.datagrams.Load()
		for range 20 {
			send(session, to, "x")
		}
		send(rootUID, to, "last") // comes after the others
		select {
		case <-n.last:
		case <-time.After(2 * time.Minute):
			t.Fatal("root's datagram has not arrived")
		}
		return n.datagrams.Load() - before
	}
	if got := arrived("10.9.9.9:53"); got != 20 {
		t.Fatalf("without walls %d datagrams arrive", got)
	}
	n.install(egress.Open)
	for to, want := range map[string]int64{"10.9.9.9:53": 0, "172.30.0.1:53": 0, "172.30.0.3:53": 0, "169.254.169.254:53": 0, "8.8.8.8:53": 20} {
		if got := arrived(to); got != want {
			t.Errorf("%s: %d datagrams arrive", to, got)
		}
	}
}

// TestInstallReplaces holds that new walls take the place of the old ones, and that a fault leaves the old ones.
func TestInstallReplaces(t *testing.T) {
	n := newNetwork(t)
	n.install(egress.None)
	n.install(egress.Open)
	if err := n.dial(session, "8.8.8.8", nil); err != nil {
		t.Error(err)
	}
	n.in(n.container, func() error {
		bad := Config{Free: []int{session}, Resolver: netip.AddrFrom4([4]byte{127, 0, 0, 11})}.messages(bound{}, reset(), step("nothing-of-this-name"))
		if err := send(bad); err == nil {
			t.Error("nonsense is accepted")
		}
		return nil
	})
	if err := n.dial(session, "10.9.9.9", nil); err == nil {
		t.Error("the walls are gone")
	}
	if err := n.as(session, func() error { _, err := Install(Config{}); return err }); err == nil {
		t.Error("a session puts up walls")
	}
}
