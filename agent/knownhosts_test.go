package agent_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
	"github.com/berth-go/berth/internal/test/need"
)

// sshServer is a server that lets nobody in. It returns its address, a line of known_hosts, and how many clients have trusted it.
func sshServer(t *testing.T) (address, known string, trusted *atomic.Int64) {
	t.Helper()
	trusted = new(atomic.Int64)
	cfg := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, errors.New("no") }}
	cfg.AuthLogCallback = func(_ ssh.ConnMetadata, method string, _ error) {
		if method == "none" { // with which each begins
			trusted.Add(1)
		}
	}
	address, known = serveSSH(t, cfg, func(conn net.Conn) {
		defer conn.Close()
		ssh.NewServerConn(conn, cfg)
	})
	return address, known, trusted
}

// TestKnownHostsOfSSH: a server whose key is not the known one gets no fetch, and neither does an unknown one, if hosts are named.
func TestKnownHostsOfSSH(t *testing.T) {
	need.Program(t, "ssh")
	c := agenttest.StartAfter(t, mirrorAccount).Client(agent.ClientOptions{})
	one, known, clients := sshServer(t)
	other, knownToo, clientsToo := sshServer(t)
	at, _, _ := strings.Cut(known, " ")
	_, wrongKey, _ := strings.Cut(knownToo, " ")
	for _, f := range []struct {
		what, address, hosts string
		trusts               bool
	}{
		{"the right key", one, known, true},
		{"another key", one, at + " " + wrongKey, false},
		{"another host", other, known, false},
		{"a list with the host", other, "# all\n" + known + knownToo, true},
		{"no list", other, "", true},
	} {
		before := clients.Load() + clientsToo.Load()
		_, err := c.Fetch(testContext(t), agent.Fetch{URL: "ssh://git@" + f.address + "/x", KnownHosts: f.hosts}, nil)
		if trusts := clients.Load()+clientsToo.Load() > before; err == nil || trusts != f.trusts {
			t.Errorf("%s: trusted: %v, %v", f.what, trusts, err)
		}
	}
}

// TestKnownHostsOfASession: its git connects with the same servers as the fetch into the mirror.
func TestKnownHostsOfASession(t *testing.T) {
	need.Program(t, "ssh")
	accounts := `for n in 10001 10002 10003 10004; do echo "a$n:x:$n:$n::/:/bin/sh" >> passwd; done`
	r := startOn(t, agenttest.StartAfter(t, mirrorAccount+accounts))
	address, known, clients := sshServer(t)
	other, knownToo, clientsToo := sshServer(t)
	for i, s := range []struct {
		what, address, hosts string
		trusts               bool
	}{
		{"the right key", address, known, true},
		{"another host", other, known, false},
		{"a list with the host", other, "# all\n" + known + knownToo, true},
		{"no list", other, "", true},
	} {
		id, uid := fmt.Sprintf("s%d", i), 10001+i
		if _, err := r.Open(testContext(t), agent.Session{ID: id, UID: uid, Dir: "small", URL: r.url, Branch: "main", Proven: true, KnownHosts: s.hosts}); err != nil {
			t.Fatal(err)
		}
		before := clients.Load() + clientsToo.Load()
		out, exit := r.run(t, id, "git ls-remote ssh://git@"+s.address+"/x 2>&1 </dev/null")
		if trusts := clients.Load()+clientsToo.Load() > before; exit.Code == 0 || trusts != s.trusts {
			t.Errorf("%s: trusted: %v, %s", s.what, trusts, out)
		}
	}
}
