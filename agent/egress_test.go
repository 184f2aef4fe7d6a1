package agent_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
	"github.com/berth-go/berth/internal/test/need"
)

// mirrorAccount gives the uid of git an account, without which ssh does nothing. In a container, the agent adds it.
const mirrorAccount = `cp /etc/passwd passwd; echo "berth-mirror:x:9999:9999::/:/bin/sh" >> passwd; mount --bind passwd /etc/passwd
`

// TestAnAddressIsRefused holds that no spelling of an address makes the agent connect to it, and that the failure is final.
func TestAnAddressIsRefused(t *testing.T) {
	server := agenttest.NewGitServer(t)
	server.Repo("small", map[string]string{"f": "1"})
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	before := requestsOf(server)
	a := agenttest.StartAfter(t, mirrorAccount+"echo 127.0.0.1 named.example >> hosts; mount --bind hosts /etc/hosts", "-egress=open")
	c := a.Client(agent.ClientOptions{})
	for _, host := range []string{
		"127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
		"0.0.0.0", "[::]", "0x7f.1", "0x7f000001", "2130706433", "127.1", "0177.0.0.1", "127.0.0.1.", "localhost", "LOCALHOST", "named.example",
		"10.0.0.1", "172.17.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "[fd12::1]",
	} {
		for _, scheme := range []string{"http", "https", "git", "ssh"} {
			if scheme != "http" && host != "127.0.0.1" && host != "localhost" && host != "named.example" && host != "[::1]" {
				continue // the other spellings meet the same check
			}
			begun := time.Now()
			_, err := c.Fetch(testContext(t), agent.Fetch{URL: scheme + "://" + host + ":" + port + "/small/.git"}, nil)
			if !errors.Is(err, agent.ErrAddressRefused) {
				t.Errorf("%s://%s: %v", scheme, host, err)
			} else if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("%s://%s: the error took %v", scheme, host, took)
			}
		}
	}
	_, err := c.Fetch(testContext(t), agent.Fetch{URL: "http://named.example:" + port + "/small/.git"}, nil)
	if err == nil || !strings.Contains(err.Error(), `the address 127.0.0.1 of named.example is refused: it is loopback. Config.Egress.Remotes with "127.0.0.1/32" allows it to fetches`) {
		t.Errorf("%v", err)
	}
	if n := before(); n != 0 {
		t.Errorf("%d requests have arrived", n)
	}
}

// requestsOf returns a function that says how many requests a server got since.
func requestsOf(s *agenttest.GitServer) func() int {
	next := s.Config.Handler
	count := 0
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count++
		next.ServeHTTP(w, r)
	})
	return func() int { return count }
}

// TestARedirectIsChecked holds that a redirect leads to no address that is refused, and to others as before.
func TestARedirectIsChecked(t *testing.T) {
	server := agenttest.NewGitServer(t)
	server.Repo("small", map[string]string{"f": "1"})
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	wild, err := net.Listen("tcp4", "127.0.0.2:"+port) // the same server under an address that is not allowed
	if err != nil {
		t.Fatal(err)
	}
	behind := &http.Server{Handler: server.Config.Handler}
	go behind.Serve(wild)
	t.Cleanup(func() { behind.Close() })
	to := ""
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+to+":"+port+r.URL.RequestURI(), http.StatusMovedPermanently)
	}))
	t.Cleanup(front.Close)
	refused, allowed := []string{"127.0.0.2", "[::1]", "169.254.169.254"}, []string{"127.0.0.1", "localhost"}
	for _, first := range allowed {
		// Fetches that are refused leave the mirror cold. It is warm after the first one that is allowed.
		c := agenttest.Start(t, "-egress-allow=127.0.0.1").Client(agent.ClientOptions{})
		for _, to = range slices.Concat(refused, []string{first}, refused, allowed) {
			_, err := c.Fetch(testContext(t), agent.Fetch{URL: front.URL + "/small/.git"}, nil)
			if ok := slices.Contains(allowed, to); ok && err != nil || !ok && !errors.Is(err, agent.ErrAddressRefused) {
				t.Errorf("to %s: %v", to, err)
			}
		}
	}
}

// TestGitProtocol fetches over git's own protocol, and by ssh as far as the server's first word.
func TestGitProtocol(t *testing.T) {
	server := agenttest.NewGitServer(t)
	server.Repo("small", map[string]string{"f": "1"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	daemon := exec.Command("git", "daemon", "--export-all", "--base-path="+server.Dir, "--listen=127.0.0.1", "--port="+strconv.Itoa(port))
	daemon.Env = append(os.Environ(), "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-daemon.Process.Pid, syscall.SIGKILL)
		daemon.Wait()
	})
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("git daemon does not listen")
		}
	}
	c := agenttest.Start(t).Client(agent.ClientOptions{})
	for _, cold := range []bool{true, false} {
		m, err := c.Fetch(testContext(t), agent.Fetch{URL: "git://" + address + "/small"}, nil)
		if err != nil || m.Cold != cold {
			t.Errorf("%+v, %v", m, err)
		}
	}
}

func TestSSHConnectsByTheAgent(t *testing.T) {
	need.Program(t, "ssh")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	banner := make(chan string, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("SSH-2.0-test\r\n"))
			line, _ := bufio.NewReader(conn).ReadString('\n')
			banner <- line
			conn.Close()
		}
	}()
	c := agenttest.StartAfter(t, mirrorAccount).Client(agent.ClientOptions{})
	_, err = c.Fetch(testContext(t), agent.Fetch{URL: "ssh://git@" + l.Addr().String() + "/x"}, nil)
	if err == nil || errors.Is(err, agent.ErrAddressRefused) {
		t.Error(err)
	}
	select {
	case line := <-banner:
		if !strings.HasPrefix(line, "SSH-2.0-OpenSSH") {
			t.Errorf("the server got %q", line)
		}
	default:
		t.Errorf("ssh has not reached the server: %v", err)
	}
}

// TestAProxyOfTheHost holds that the host's own proxy serves fetches at any address, that the remote is checked
// nevertheless, and that no redirect is followed.
func TestAProxyOfTheHost(t *testing.T) {
	server := agenttest.NewGitServer(t)
	server.Repo("small", map[string]string{"f": "1"})
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "moved.example" {
			http.Redirect(w, r, "http://127.0.0.1"+r.URL.RequestURI(), http.StatusMovedPermanently)
			return
		}
		server.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	a := agenttest.Start(t, "-egress=open")
	c := a.Client(agent.ClientOptions{})
	env := map[string]string{"http_proxy": proxy.URL, "no_proxy": "direct.example"}
	for _, f := range []struct {
		url     string
		ok      bool
		refused bool
	}{
		{"http://host.example/small/.git", true, false},
		{"http://127.0.0.1:1/small/.git", false, true},
		{"http://localhost/small/.git", false, true},
		{"http://0x7f.1/small/.git", false, true},
		{"http://moved.example/small/.git", false, false},
	} {
		_, err := c.Fetch(testContext(t), agent.Fetch{URL: f.url, Env: env}, nil)
		if (err == nil) != f.ok || errors.Is(err, agent.ErrAddressRefused) != f.refused {
			t.Errorf("%s: %v", f.url, err)
		}
	}
}

// TestSessionsDoNotConnectByTheAgent holds that sessions cannot use the connections that the agent makes for git.
func TestSessionsDoNotConnectByTheAgent(t *testing.T) {
	r := start(t)
	if _, err := r.Open(testContext(t), agent.Session{ID: "a", UID: 10001, Dir: "x", URL: r.url}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(r.agent.Dir, "mirror", ".home", "reach")
	if _, err := os.Stat(socket); err != nil {
		t.Fatal(err)
	}
	out, exit := r.run(t, "a", "BERTH_REACH="+socket+" BERTH_REACH_TOKEN=x "+agenttest.Program(t)+" 127.0.0.1 80 </dev/null 2>&1")
	if exit.Code == 0 || !strings.Contains(out, "permission denied") {
		t.Errorf("%+v %s", exit, out)
	}
}
