package agent_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

// echoServer is a program that prints its port and sends back what it gets. It listens at the address that is its argument.
const echoServer = `use IO::Socket::IP; $| = 1; $SIG{CHLD} = "IGNORE";
	$s = IO::Socket::IP->new(Listen => 500, LocalHost => $ARGV[0], LocalPort => 0, V6Only => $ARGV[1]) or die $@; print $s->sockport, "\n";
	while ($c = $s->accept) { fork or do { syswrite($c, $b) while sysread($c, $b, 65536); exit }; close $c }`

// serve starts an echo server in a session, and returns its port.
func (r *ready) serve(t *testing.T, session, address string, v6only bool) (port string) {
	t.Helper()
	only := "0"
	if v6only {
		only = "1"
	}
	out, in := io.Pipe()
	p, err := r.Start(testContext(t), agent.Command{Session: session, Args: []string{"perl", "-e", echoServer, address, only}, Stdout: in, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill(testContext(t)) })
	port, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, out) // until the session ends
	return strings.TrimSpace(port)
}

// TestAConnectionSurvivesCuts: every byte comes once, although connections with the agent break all the time.
func TestAConnectionSurvivesCuts(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	port := r.serve(t, "s", "127.0.0.1", false)
	c := throughCutter(t, r)
	stop := make(chan struct{})
	var cutting, all sync.WaitGroup
	cutting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(rand.N(100 * time.Millisecond)):
				c.Cut()
			}
		}
	})
	for i := range 5 {
		all.Go(func() {
			conn, err := r.Dial(testContext(t), agent.Dial{Session: "s", Network: "tcp", Address: "localhost:" + port})
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			want, got := newHashed(), newHashed()
			go func() {
				if _, err := io.Copy(conn, io.TeeReader(noise(uint64(i), 4<<20), want)); err != nil {
					t.Error(err)
				}
				conn.CloseWrite()
			}()
			if _, err := io.Copy(got, conn); err != nil || got.String() != want.String() {
				t.Errorf("%v: sent %v, received %v", err, want, got)
			}
		})
	}
	all.Wait()
	close(stop)
	cutting.Wait()
}

// TestADiallerReachesItsSessionAlone, at each kind of address, and no socket of another uid.
func TestADiallerReachesItsSessionAlone(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	r.session(t, "other", 10002)
	own, err := net.Listen("tcp", "127.0.0.1:0") // this test's network is the agent's
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	var outside string                                             // the address of this machine; those of bridges come and go with the networks of other tests
	if route, err := net.Dial("udp4", "192.0.2.1:9"); err == nil { // nothing is sent
		outside = route.LocalAddr().(*net.UDPAddr).IP.String()
		route.Close()
	}
	try := func(session, network, address string) error {
		conn, err := r.Dial(testContext(t), agent.Dial{Session: session, Network: network, Address: address})
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "hello"); err != nil {
			return err
		}
		if err := conn.CloseWrite(); err != nil {
			return err
		}
		got, err := io.ReadAll(conn)
		if err == nil && string(got) != "hello" {
			err = fmt.Errorf("it sends %q", got)
		}
		return err
	}
	refused := func(session, network, address string) {
		t.Helper()
		if err := try(session, network, address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %s %s: %v", session, network, address, err)
		}
	}
	_, root, _ := net.SplitHostPort(own.Addr().String())
	refused("s", "tcp", "localhost:"+root)
	for _, c := range []struct {
		listens string
		only    bool
		hosts   []string
		not     []string
	}{
		{"127.0.0.1", false, []string{"", "localhost", "127.0.0.1", "0.0.0.0"}, []string{"127.0.0.2", "[::1]"}},
		{"127.0.0.5", false, []string{"", "127.0.0.5"}, []string{"127.0.0.1"}},
		{"0.0.0.0", false, []string{"localhost", "127.0.0.1", "127.0.0.9", outside}, []string{"[::1]"}},
		{"::", false, []string{"localhost", "127.0.0.1", "[::1]", "[::]", outside}, nil},
		{"::", true, []string{"localhost", "[::1]"}, []string{"127.0.0.1"}},
		{"::1", false, []string{"localhost", "[::1]"}, []string{"127.0.0.1"}},
	} {
		port := r.serve(t, "s", c.listens, c.only)
		for _, host := range c.hosts {
			if err := try("s", "tcp", host+":"+port); err != nil && !(host == outside && outside == "") {
				t.Errorf("%+v: %s: %v", c, host, err)
			}
			refused("other", "tcp", host+":"+port)
		}
		for _, host := range c.not {
			refused("s", "tcp", host+":"+port)
		}
	}
	for _, c := range [][2]string{{"tcp", "1.1.1.1:80"}, {"tcp", "example.org:80"}, {"udp", "localhost:80"}, {"tcp4", "[::1]:80"}, {"tcp", "localhost"}, {"tcp", "localhost:0"}, {"tcp", "localhost:http"}} {
		if err := try("s", c[0], c[1]); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v: %v", c, err)
		}
	}
	ports, err := r.Ports(testContext(t), "s")
	if err != nil || len(ports) != 6 {
		t.Errorf("%+v, %v", ports, err)
	}
	for _, p := range ports {
		if p.Pid == 0 || p.Program != "perl" {
			t.Errorf("%+v", p)
		}
	}
	if ports, err := r.Ports(testContext(t), "other"); err != nil || len(ports) > 0 {
		t.Errorf("%+v, %v", ports, err)
	}
}

// TestWhatWasWrittenBeforeCloseArrives. The end of its session ends a connection, too.
func TestWhatWasWrittenBeforeCloseArrives(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	const sink = `use IO::Socket::IP; $s = IO::Socket::IP->new(Listen => 5, LocalHost => "127.0.0.1", LocalPort => 0); $| = 1; print $s->sockport, "\n";
		$c = $s->accept; sleep 1; $n = 0; while ($k = sysread($c, $b, 65536)) { $n += $k }; print defined $k ? "end\n" : "reset\n"; print "$n\n"`
	for _, name := range []string{"closed", "session closed"} {
		out, in := io.Pipe()
		p, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"perl", "-e", sink}, Stdout: in})
		if err != nil {
			t.Fatal(err)
		}
		said := bufio.NewReader(out)
		port, err := said.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		conn, err := r.Dial(testContext(t), agent.Dial{Session: "s", Network: "tcp", Address: "localhost:" + strings.TrimSpace(port), Ended: func() { close(ended) }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(conn, noise(1, 10e6), 10e6); err != nil {
			t.Fatal(err)
		}
		if name == "closed" {
			conn.Close()
			go func() { p.Wait(); in.Close() }()
			if got, err := io.ReadAll(said); err != nil || string(got) != "end\n10000000\n" {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			<-ended
			continue
		}
		if err := r.CloseSession(testContext(t), "s", 10001); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, conn) // the end of the session ends it
		conn.Close()
		<-ended
	}
}
