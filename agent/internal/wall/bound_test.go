package wall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/internal/test/need"
)

const another = 10002 // session

// bounded puts up walls with bounds, of which the kernel must have all that are asked for.
func (n *network) bounded(most, perSecond int) {
	n.t.Helper()
	n.in(n.container, func() error {
		weaker, err := Install(Config{Policy: egress.Policy{Mode: egress.Open}, Connections: most, PerSecond: perSecond})
		return errors.Join(weaker, err)
	})
}

// flood sends as many datagrams as it is told, each to another port, from one socket of a uid, and returns how many were not refused.
func (n *network) flood(uid int, from, to string, first, flows int) (sent int) {
	n.t.Helper()
	err := n.as(uid, func() error {
		addr := netip.MustParseAddr(to)
		family := syscall.AF_INET
		if addr.Is6() {
			family = syscall.AF_INET6
		}
		fd, err := syscall.Socket(family, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer syscall.Close(fd)
		if from != "" {
			if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: netip.MustParseAddr(from).As4()}); err != nil {
				return err
			}
		}
		for port := first; port < first+flows; port++ {
			var where syscall.Sockaddr = &syscall.SockaddrInet6{Port: port, Addr: addr.As16()}
			if addr.Is4() {
				where = &syscall.SockaddrInet4{Port: port, Addr: addr.As4()}
			}
			switch err := syscall.Sendto(fd, []byte("x"), 0, where); err {
			case nil:
				sent++
			case syscall.EPERM:
			default:
				return err
			}
		}
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return sent
}

// setting reads or changes a setting of the container's network.
func (n *network) setting(name, value string) (got string) {
	n.t.Helper()
	n.in(n.container, func() error {
		path := "/proc/sys/net/netfilter/" + name
		if value != "" {
			return os.WriteFile(path, []byte(value), 0)
		}
		b, err := os.ReadFile(path)
		got = strings.TrimSpace(string(b))
		return err
	})
	return got
}

// entries returns how many the table of connections has.
func (n *network) entries() int {
	n.t.Helper()
	all, err := strconv.Atoi(n.setting("nf_conntrack_count", ""))
	if err != nil {
		n.t.Fatal(err)
	}
	return all
}

// settled returns how many entries the table has, at the latest after a minute, when it has as many as it should. The entry of a packet
// that was refused goes with the packet, which the kernel may hold for a moment.
func (n *network) settled(is func(entries int) bool) (got int) {
	n.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if got = n.entries(); is(got) || time.Now().After(deadline) {
			return got
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	for _, to := range []string{"8.8.8.8", "2606:4700::1111"} {
		t.Run(to, func(t *testing.T) {
			const most = 50
			n := newNetwork(t)
			n.bounded(most, 1_000_000)
			if sent := n.flood(session, "", to, 1000, 200); sent != most {
				t.Errorf("%d flows are let through, want %d", sent, most)
			}
			if got := n.settled(func(n int) bool { return n == most }); got != most {
				t.Errorf("the table has %d entries, want %d", got, most)
			}
			begun := time.Now()
			if err := n.dial(session, to, nil); !errors.Is(err, syscall.ECONNREFUSED) || time.Since(begun) > 5*time.Second {
				t.Errorf("one more connection: %v after %v", err, time.Since(begun))
			}
			for _, uid := range []int{another, rootUID, mirrorUID} {
				if err := n.dial(uid, to, nil); err != nil {
					t.Errorf("uid %d: %v", uid, err)
				}
			}
			if sent := n.flood(rootUID, "", to, 1000, 200); sent != 200 {
				t.Errorf("root sends %d datagrams", sent)
			}
			n.bounded(most, 1_000_000) // as when an address of the machine has changed
			if sent := n.flood(session, "", to, 3000, 20); sent != 0 {
				t.Errorf("the walls are new, and %d more flows are let through", sent)
			}
		})
	}
}

// TestConnectionsThatAreOver holds that a uid may have new ones then.
func TestConnectionsThatAreOver(t *testing.T) {
	n := newNetwork(t)
	n.bounded(50, 1_000_000)
	n.setting("nf_conntrack_udp_timeout", "1")
	n.flood(session, "", "8.8.8.8", 1000, 60)
	if err := n.dial(session, "8.8.8.8", nil); err == nil {
		t.Error("it connects at once")
	}
	deadline := time.Now().Add(2 * time.Minute)
	for range 200 { // more than there may be at once
		for err := n.dial(session, "8.8.8.8", nil); err != nil; err = n.dial(session, "8.8.8.8", nil) {
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // the other side may not have closed the last ones yet
		}
	}
}

// TestOneFlowCountsOnce: as many datagrams as it likes, though nobody answers.
func TestOneFlowCountsOnce(t *testing.T) {
	n := newNetwork(t)
	n.bounded(2, 1_000_000)
	err := n.as(session, func() error {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer syscall.Close(fd)
		for range 1000 {
			if err := syscall.Sendto(fd, []byte("x"), 0, &syscall.SockaddrInet4{Port: 53, Addr: [4]byte{8, 8, 8, 8}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRateIsBounded(t *testing.T) {
	n := newNetwork(t)
	n.bounded(50, 1)
	n.setting("nf_conntrack_udp_timeout", "1")
	if sent := n.flood(session, "", "8.8.8.8", 1000, 2000); sent < 50 || sent > 60 {
		t.Errorf("%d flows are let through, want about 50", sent)
	}
	if err := n.dial(another, "8.8.8.8", nil); err != nil {
		t.Errorf("another session: %v", err)
	}
	for deadline := time.Now().Add(2 * time.Minute); n.dial(session, "8.8.8.8", nil) != nil; { // TCP tries again
		if time.Now().After(deadline) {
			t.Fatal("the session does not connect any more")
		}
	}
}

// TestLoopbackNeedsNoEntry: a session cannot fill the container's own table, either.
func TestLoopbackNeedsNoEntry(t *testing.T) {
	n := newNetwork(t)
	n.bounded(50, 1_000_000)
	for _, to := range []string{"127.0.0.1", "127.9.9.9", "::1", "172.30.0.2", "fd77::2"} {
		if sent := n.flood(session, "", to, 1000, 200); sent != 200 {
			t.Errorf("%d datagrams are sent to %s", sent, to)
		}
	}
	if got := n.entries(); got != 0 {
		t.Errorf("the table has %d entries", got)
	}
	if sent := n.flood(session, "127.0.0.11", "127.0.0.1", 1000, 200); sent != 50 {
		t.Errorf("%d datagrams are sent from the address of the resolver", sent)
	}
	if sent := n.flood(session, "", "127.0.0.11", 1000, 200); sent != 0 {
		t.Errorf("%d datagrams are sent to the resolver", sent)
	}
	if got := n.settled(func(n int) bool { return n <= 50 }); got > 50 {
		t.Errorf("the table has %d entries", got)
	}
}

// TestAResetThatDoesNotLeave holds that a connection counts as long as the machine cannot know that it is over.
func TestAResetThatDoesNotLeave(t *testing.T) {
	for _, lost := range []bool{false, true} {
		n := newNetwork(t)
		n.bounded(1, 1_000_000)
		conn := n.open("8.8.8.8:81")
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if lost {
				err = syscall.SetsockoptString(int(fd), syscall.IPPROTO_IP, syscall.IP_OPTIONS, "\x01\x01\x01\x00")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		wait := time.Minute
		if lost {
			wait = 100 * time.Millisecond // in which the kernel counts several times
		}
		for until := time.Now().Add(wait); ; {
			err := n.dial(session, "8.8.8.8", nil)
			if err == nil && lost {
				t.Fatal("the machine has the connection, and the session has another")
			}
			if err == nil || lost && time.Now().After(until) {
				break
			}
			if time.Now().After(until) {
				t.Fatal(err)
			}
		}
	}
}

// TestKernelWithoutBounds: the walls stand, with what bounds there are.
func TestKernelWithoutBounds(t *testing.T) {
	n := newNetwork(t)
	unknown := step("nothing-of-this-name")
	c := Config{Policy: egress.Policy{Mode: egress.Open}, Free: []int{rootUID}, Resolver: netip.AddrFrom4([4]byte{127, 0, 0, 11})}
	for _, k := range []struct {
		name  string
		tried []bound
		sent  int
	}{
		{"a rate alone", []bound{{overRate(1, 50), unknown}, {rate: overRate(1, 50)}, {}}, 50},
		{"none", []bound{{unknown, unknown}, {rate: unknown}, {}}, 2000},
	} {
		t.Run(k.name, func(t *testing.T) {
			n.in(n.container, func() error {
				weaker, err := c.install(k.tried)
				if !errors.Is(weaker, syscall.ENOENT) {
					t.Errorf("the bounds are weaker because of %v", weaker)
				}
				return err
			})
			if sent := n.flood(session, "", "8.8.8.8", 1000, 2000); sent < k.sent || sent > k.sent+10 {
				t.Errorf("%d flows are let through, want about %d", sent, k.sent)
			}
			if err := n.dial(another, "8.8.8.8", nil); err != nil {
				t.Error(err)
			}
			if err := n.dial(session, "10.9.9.9", nil); err == nil {
				t.Error("there are no walls")
			}
		})
	}
}

// TestPacketsWithoutASocket holds that they have a bound of their own. The kernel's question for a neighbour goes into a tunnel
// with many ends, each with a port of its own.
func TestPacketsWithoutASocket(t *testing.T) {
	const ends = 40
	for _, most := range []int{10, 1000} {
		n := newNetwork(t)
		n.in(n.container, func() error {
			if err := ip("link add tunnel type vxlan id 1 dev eth0 dstport 4789"); err != nil {
				need.Missing(t, "needs a kernel with VXLAN: %v", err)
			}
			err := ip("link set tunnel addrgenmode none", "link set tunnel up", "addr add 10.55.0.1/24 dev tunnel")
			for port := 5001; port <= 5000+ends && err == nil; port++ {
				err = exec.Command("bridge", strings.Fields(fmt.Sprint("fdb append 00:00:00:00:00:00 dev tunnel dst 8.8.8.8 port ", port))...).Run()
			}
			return err
		})
		n.bounded(most, 1_000_000)
		if sent := n.flood(rootUID, "", "10.55.0.9", 1000, 1); sent != 1 {
			t.Error("root sends nothing")
		}
		want := 1 + min(most, ends)
		if got := n.settled(func(n int) bool { return n == want }); got != want {
			t.Errorf("bounded to %d, root and the kernel have %d entries, want %d", most, got, want)
		}
		for _, uid := range []int{session, rootUID} {
			if err := n.dial(uid, "8.8.8.8", nil); err != nil {
				t.Errorf("uid %d: %v", uid, err)
			}
		}
	}
}
