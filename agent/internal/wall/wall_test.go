package wall

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/internal/test/need"
)

// The outside has all of these addresses, and answers on them.
var outside = []string{
	"172.30.0.1/24", "172.30.0.3/24", "172.29.0.1/32", "10.9.9.9/32", "8.8.8.8/32", "52.1.2.3/32", "169.254.169.254/32", "100.64.0.7/32",
	"fd77::1/64", "fd77::3/64", "fd99::9/128", "2606:4700::1111/128", "fd00:ec2::254/128", "64:ff9b::10.9.9.9/128", "64:ff9b::8.8.8.8/128",
}

// network is a container's network namespace and one for all that is outside.
type network struct {
	t         testing.TB
	container string
	away      string
	datagrams atomic.Int64  // of sessions that have arrived outside
	last      chan struct{} // gets a value for each of root's
}

// namespace makes a network namespace, which lives as long as the test, and returns the path of its file.
func namespace(t testing.TB, setup func(tid int) error) string {
	t.Helper()
	made, release := make(chan error), make(chan struct{})
	var path string
	go func() {
		runtime.LockOSThread()
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			made <- err
			return
		}
		path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), syscall.Gettid())
		made <- setup(syscall.Gettid())
		<-release
	}()
	t.Cleanup(func() { close(release) })
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	return path
}

func ip(lines ...string) error {
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return nil
}

func newNetwork(t testing.TB) *network {
	t.Helper()
	need.Root(t)
	n := &network{t: t, last: make(chan struct{}, 100)}
	tid := 0
	n.container = namespace(t, func(of int) error {
		tid = of
		return ip("link set lo up")
	})
	n.away = namespace(t, func(int) error {
		if err := ip("link set lo up", "link add out type veth peer name eth0 netns "+fmt.Sprint(tid), "link set out up"); err != nil {
			return err
		}
		for _, addr := range outside {
			if err := ip("addr add " + addr + " dev out" + map[bool]string{true: " nodad"}[strings.Contains(addr, ":")]); err != nil {
				return err
			}
		}
		return nil
	})
	n.in(n.container, func() error {
		return ip("link set eth0 up", "addr add 172.30.0.2/24 dev eth0", "addr add fd77::2/64 dev eth0 nodad", "addr add 127.0.0.11/8 dev lo",
			"route add default via 172.30.0.1", "-6 route add default via fd77::1")
	})
	for _, ns := range []string{n.container, n.away} { // the container has a server of its own
		n.in(ns, func() error { return n.serve(ns == n.away) })
	}
	for _, addr := range []string{"fd77::2", "2606:4700::1111"} { // the kernel adds addresses of IPv6 in the background
		for deadline := time.Now().Add(time.Minute); ; {
			err := n.dial(rootUID, addr, nil)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	return n
}

func (n *network) in(ns string, fn func() error) {
	n.t.Helper()
	if err := In(ns, fn); err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) serve(away bool) error {
	l, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	n.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("x"))
			conn.Close()
		}
	}()
	u, err := net.ListenPacket("udp", ":53")
	if err != nil {
		return err
	}
	n.t.Cleanup(func() { u.Close() })
	go func() {
		for {
			b := make([]byte, 100)
			size, _, err := u.ReadFrom(b)
			switch {
			case err != nil:
				return
			case string(b[:size]) == "last":
				n.last <- struct{}{}
			case away:
				n.datagrams.Add(1)
			}
		}
	}()
	return nil
}

// as runs a function under a uid in the container's network.
func (n *network) as(uid int, fn func() error) error {
	return In(n.container, func() error {
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); e != 0 {
			return e
		}
		return fn()
	})
}

// dial connects as a uid, after control has changed the socket.
func (n *network) dial(uid int, addr string, control func(fd int) error) error {
	return n.as(uid, func() error {
		d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, c syscall.RawConn) (err error) {
			if control == nil {
				return nil
			}
			return errors.Join(c.Control(func(fd uintptr) { err = control(int(fd)) }), err)
		}}
		conn, err := d.DialContext(context.Background(), "tcp", net.JoinHostPort(addr, "80"))
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = conn.Read(make([]byte, 1))
		return err
	})
}

func (n *network) install(mode egress.Mode, allow ...string) {
	n.t.Helper()
	policy, err := egress.Parse(mode, allow)
	if err != nil {
		n.t.Fatal(err)
	}
	n.in(n.container, func() error {
		weaker, err := Install(Config{Policy: policy, Deny: []netip.Prefix{
			netip.MustParsePrefix("172.30.0.0/24"), netip.MustParsePrefix("172.29.0.1/32"), netip.MustParsePrefix("fd77::/64"), netip.MustParsePrefix("52.1.2.3/32"),
		}})
		return errors.Join(weaker, err)
	})
}

const session = 10001

func TestWalls(t *testing.T) {
	n := newNetwork(t)
	for _, addr := range outside {
		addr, _, _ = strings.Cut(addr, "/")
		if err := n.dial(session, addr, nil); err != nil {
			t.Fatalf("without walls: %v", err)
		}
	}
	for _, c := range []struct {
		name  string
		mode  egress.Mode
		allow []string
		open  []string // of the outside; the rest is refused
	}{
		{"open", egress.Open, nil, []string{"8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8"}},
		{"none", egress.None, nil, nil},
		{"exceptions", egress.Open, []string{"10.9.0.0/16", "172.16.0.0/12", "fd99::/16"},
			[]string{"8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "10.9.9.9", "64:ff9b::10.9.9.9", "fd99::9"}},
		{"the host itself", egress.Open, []string{"172.29.0.1", "169.254.169.254", "100.64.0.0/10"},
			[]string{"8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "172.29.0.1", "169.254.169.254", "100.64.0.7"}},
		{"a list", egress.AllowList, []string{"8.8.8.8", "10.9.9.9"}, []string{"8.8.8.8", "64:ff9b::8.8.8.8", "10.9.9.9", "64:ff9b::10.9.9.9"}},
		{"a list of everything", egress.AllowList, []string{"0.0.0.0/0"}, []string{"8.8.8.8", "64:ff9b::8.8.8.8"}},
		{"an empty list", egress.AllowList, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.install(c.mode, c.allow...)
			open := " " + strings.Join(c.open, " ") + " "
			for _, addr := range outside {
				addr, _, _ = strings.Cut(addr, "/")
				want := strings.Contains(open, " "+addr+" ")
				begun := time.Now()
				if err := n.dial(session, addr, nil); (err == nil) != want {
					t.Errorf("%s: %v", addr, err)
				}
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("%s: the answer took %v", addr, took)
				}
				for _, uid := range []int{rootUID, mirrorUID} {
					if err := n.dial(uid, addr, nil); err != nil {
						t.Errorf("%s: uid %d: %v", addr, uid, err)
					}
				}
			}
			for _, addr := range []string{"127.0.0.1", "::1", "172.30.0.2", "fd77::2"} {
				if err := n.dial(session, addr, nil); err != nil {
					t.Errorf("within the container: %v", err)
				}
			}
			if err := n.dial(session, "127.0.0.11", nil); err == nil {
				t.Error("the engine's resolver answers")
			}
		})
	}
}
