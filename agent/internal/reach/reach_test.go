package reach

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/berth-go/berth/agent/egress"
)

// open returns a Dialer for this test's own uid, or one that is larger by Config.UID, whose policy allows some addresses.
func open(t *testing.T, c Config, allow ...string) *Dialer {
	t.Helper()
	policy, err := egress.Parse(egress.Open, allow)
	if err != nil {
		t.Fatal(err)
	}
	c.Policy, c.UID, c.Socket = policy, c.UID+os.Getuid(), filepath.Join(t.TempDir(), "reach")
	d, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// names makes a Dialer look up all names at a server of the test's, which answers with the addresses that it is given.
func names(t *testing.T, d *Dialer, answer func(lookup int) []string) *atomic.Int64 {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	lookups := new(atomic.Int64)
	go func() {
		packet := make([]byte, 2<<10)
		for {
			n, from, err := server.ReadFrom(packet)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(packet[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			if q.Type == dnsmessage.TypeA {
				for _, a := range answer(int(lookups.Add(1))) {
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
						Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
					})
				}
			}
			if b, err := m.Pack(); err == nil {
				server.WriteTo(b, from)
			}
		}
	}()
	d.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.ports.dial(ctx, "udp", server.LocalAddr().String())
	}}
	return lookups
}

// get asks for a URL as git does.
func get(route *Route, address string) (string, error) {
	proxy, _ := url.Parse(route.Proxy())
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}, Timeout: 30 * time.Second}
	r, err := client.Get(address)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

// serveAt serves its own address on one port of several addresses.
func serveAt(t *testing.T, addrs ...string) (port string) {
	t.Helper()
	port = "0"
	for _, addr := range addrs {
		l, err := net.Listen("tcp4", addr+":"+port)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, addr) }))
		s.Listener.Close()
		s.Listener = l
		s.Start()
		t.Cleanup(s.Close)
	}
	return port
}

func TestANameIsCheckedAndPinned(t *testing.T) {
	d := open(t, Config{}, "127.0.0.1", "127.0.0.3")
	port := serveAt(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	for _, c := range []struct {
		answer []string
		want   string // "" = refused
	}{
		{[]string{"127.0.0.1"}, "127.0.0.1"},
		{[]string{"127.0.0.2"}, ""},
		{[]string{"169.254.169.254"}, ""},
		{[]string{"127.0.0.2", "127.0.0.3"}, "127.0.0.3"},
		{[]string{"10.0.0.1", "127.0.0.2"}, ""},
	} {
		lookups := names(t, d, func(int) []string { return c.answer })
		route := d.Open()
		got, err := get(route, "http://name.example:"+port)
		_, refused := errors.AsType[*egress.Refused](route.Err())
		if got != c.want || (err != nil) != (c.want == "") || refused != (c.want == "") {
			t.Errorf("%v: %q, %v, %v", c.answer, got, err, route.Err())
		}
		if lookups.Load() != 1 {
			t.Errorf("%v: %d look-ups", c.answer, lookups.Load())
		}
		route.Close()
	}
	// What is allowed to fetches alone, by the name and by the address.
	d.Policy.Remotes, d.Policy.RemoteNames = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, []string{"named.example"}
	for host, want := range map[string]string{"other.example": "127.0.0.2", "named.example": "127.0.0.2"} {
		names(t, d, func(int) []string { return []string{"127.0.0.2"} })
		route := d.Open()
		if got, err := get(route, "http://"+host+":"+port); got != want {
			t.Errorf("%s: %q, %v", host, got, err)
		}
		route.Close()
	}
	d.Policy.Remotes = nil
	names(t, d, func(int) []string { return []string{"169.254.169.254"} })
	route := d.Open()
	get(route, "http://named.example:"+port)
	if refused, ok := errors.AsType[*egress.Refused](route.Err()); !ok || refused.Host != "named.example" {
		t.Errorf("a name of a remote leads to metadata: %v", route.Err())
	}
	route.Close()
	// Rebinding: what is checked is what is connected to, each time.
	names(t, d, func(n int) []string { return []string{[]string{"127.0.0.2", "127.0.0.1"}[n%2]} })
	for range 6 {
		route := d.Open()
		if got, _ := get(route, "http://name.example:"+port); got == "127.0.0.2" {
			t.Error("a refused address answered")
		}
		route.Close()
	}
}

func TestFailuresHaveGitsWords(t *testing.T) {
	d := open(t, Config{ConnectTimeout: time.Second, AnswerTimeout: time.Second}, "127.0.0.0/8")
	free := serveAt(t, "127.0.0.9")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	for address, want := range map[string]string{
		"http://127.0.0.1:" + free:               "Failed to connect to 127.0.0.1 port " + free + ": Connection refused",
		"http://nothing.invalid":                 "Could not resolve host: nothing.invalid",
		"http://" + silent.Addr().String():       "the remote does not answer: it took the connection and sent nothing for 1s",
		"http://" + full(t) + "/":                "the remote takes no connection: no answer for 1s",
		"http://user.2130706433:" + free + "/":   `the host "user.2130706433" is refused: it is an unusual spelling of an address`,
		"http://127.0.0.9:" + free + "/and/back": "",
	} {
		names(t, d, func(int) []string { return nil })
		route := d.Open()
		_, err := get(route, address)
		if got := route.Err(); (err == nil) != (want == "") || got == nil && want != "" || got != nil && got.Error() != want {
			t.Errorf("%s: %v, %v", address, got, err)
		}
		route.Close()
	}
}

// full returns the address of a server whose queue of connections is full, so that the kernel answers no other.
func full(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*syscall.SockaddrInet4).Port)).String()
	for {
		conn, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
}

func TestOnlyARouteConnects(t *testing.T) {
	d := open(t, Config{}, "127.0.0.1")
	address := "http://127.0.0.1:" + serveAt(t, "127.0.0.1")
	route := d.Open()
	if _, err := get(route, address); err != nil {
		t.Fatal(err)
	}
	route.Close()
	if _, err := get(route, address); err == nil {
		t.Error("a closed route connects")
	}
	if _, err := get(&Route{dialer: d, token: "guessed"}, address); err == nil {
		t.Error("a guessed token connects")
	}
	d = open(t, Config{UID: 1}, "127.0.0.1") // connections of this test are those of a session to it
	if _, err := get(d.Open(), address); err == nil {
		t.Error("another uid connects")
	}
	if _, err := get(open(t, Config{Tells: silent}, "127.0.0.1").Open(), address); err != nil {
		t.Errorf("git does not connect where the kernel does not tell of it: %v", err)
	}
}

// silent is a kernel without inet_diag.
func silent() bool { return false }

// TestSessionsAreCutOff holds that connections of sessions take up nothing.
func TestSessionsAreCutOff(t *testing.T) {
	for name, tells := range map[string]func() bool{"by the kernel's answers": nil, "by the kernel's table": silent} {
		t.Run(name, func(t *testing.T) { cutOff(t, open(t, Config{UID: 1, Tells: tells})) })
	}
}

func cutOff(t *testing.T, d *Dialer) {
	for range 3 * maxStrange {
		conn, err := net.Dial("tcp", d.socks.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the connection of another uid is kept")
		}
	}
}

func TestARouteEndsItsConnections(t *testing.T) {
	d := open(t, Config{}, "127.0.0.1")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	route := d.Open()
	failed := make(chan error, 1)
	go func() {
		_, err := get(route, "http://"+silent.Addr().String())
		failed <- err
	}()
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	route.Close()
	if err := <-failed; err == nil {
		t.Error("the request went on")
	}
}

// TestTheCommand runs this program as git's proxy command.
func TestTheCommand(t *testing.T) {
	if IsCommand(os.Args, os.Getenv) {
		if err := Command(os.Args[1], os.Args[2], os.Getenv); err != nil {
			io.WriteString(os.Stderr, err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	d := open(t, Config{}, "127.0.0.1")
	port := serveAt(t, "127.0.0.1", "127.0.0.2")
	route := d.Open()
	defer route.Close()
	run := func(host string) (string, error) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Args = []string{"x", host, port}
		cmd.Env = append(os.Environ(), route.Environ()...)
		cmd.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("127.0.0.1"); err != nil || !strings.HasSuffix(out, "127.0.0.1") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run("127.0.0.2"); err == nil || !strings.Contains(out, "refused") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestMain(m *testing.M) {
	if IsCommand(os.Args, os.Getenv) {
		TestTheCommand(nil)
	}
	os.Exit(m.Run())
}
