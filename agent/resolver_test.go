package agent_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// serveNames answers look-ups at port 53 of an address of this machine.
func serveNames(t *testing.T, at string, addrs map[string]string) {
	t.Helper()
	server, err := net.ListenPacket("udp", net.JoinHostPort(at, "53"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
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
			m.Response, m.Additionals = true, nil
			if addr, ok := addrs[strings.TrimSuffix(q.Name.String(), ".")]; ok && q.Type == dnsmessage.TypeA {
				header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
				m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: netip.MustParseAddr(addr).As4()}}}
			}
			if b, err := m.Pack(); err == nil {
				server.WriteTo(b, from)
			}
		}
	}()
}

// TestTheResolverOfSessions holds that sessions learn no neighbour and no refused address, and that the agent looks up its
// remotes at the engine's resolver.
func TestTheResolverOfSessions(t *testing.T) {
	agenttest.Need(t)
	serveNames(t, "127.0.7.8", map[string]string{
		"public.example": "8.8.8.8", "private.example": "10.0.0.1", "repo-acme-shop": "8.8.4.4", "git.example": "127.0.0.1",
	})
	server := agenttest.NewGitServer(t)
	server.Repo("small", map[string]string{"f": "1"})
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	a := agenttest.StartAfter(t, `echo nameserver 127.0.7.8 > resolv.conf; mount --bind resolv.conf /etc/resolv.conf
`, "-resolver=127.0.7.9", "-egress=allow-list", "-egress-allow=127.0.0.1", "-egress-allow=none.example")
	c := a.Client(agent.ClientOptions{})
	url := "http://git.example:" + port + "/small/.git"
	if _, err := c.Fetch(testContext(t), agent.Fetch{URL: url}, nil); err != nil {
		t.Fatal(err)
	}
	a.Restart("-resolver=127.0.7.9", "-egress=open", "-egress-allow=127.0.0.1")
	r := &ready{Client: a.Client(agent.ClientOptions{}), agent: a, git: server, url: url}
	r.fetch(t, agent.Fetch{})
	r.session(t, "s", 10001)
	for name, want := range map[string]string{"public.example": "8.8.8.8", "private.example": "", "repo-acme-shop": "", "nothing.example": "", "git.example": "127.0.0.1"} {
		out, _ := r.run(t, "s", "getent hosts "+name+". | cut -d' ' -f1")
		if strings.TrimSpace(out) != want {
			t.Errorf("%s is %q; want %q", name, out, want)
		}
	}
}
