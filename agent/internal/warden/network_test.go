package warden

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent/internal/wall"
)

// TestWallsOfTheNetwork holds that an agent gets walls in its own container alone, with the addresses of the machine, and that
// walls and pins outlive the warden.
func TestWallsOfTheNetwork(t *testing.T) {
	g := newGround(t)
	b := g.box(t)
	if i, err := b.isolation(); err != nil || i.Network {
		t.Errorf("before: %+v, %v", i, err)
	}
	up := func() {
		t.Helper()
		if err := b.rpc.Call("Agent.Walls", []string{"a.example"}, new(int)); err != nil {
			t.Fatal(err)
		}
		if i, err := b.isolation(); err != nil || !i.Network {
			t.Errorf("after: %+v, %v", i, err)
		}
	}
	up()
	g.remove(g.warden)
	err := wall.In(procPath(b.pid, "ns/net"), func() error { return wall.Pin([]netip.Addr{netip.MustParseAddr("52.1.2.4")}, time.Minute) })
	if err != nil {
		t.Errorf("the walls have ended with the warden: %v", err)
	}
	g.startWarden(t)
	up()
	t.Run("a container without a network of its own", func(t *testing.T) {
		other := g.box(t, func(o *client.ContainerCreateOptions) { o.HostConfig.NetworkMode = "host" })
		err := other.rpc.Call("Agent.Walls", []string{"a.example"}, new(int))
		if err == nil || !strings.Contains(err.Error(), "no network namespace of its own") {
			t.Errorf("walls of the machine's network: %v", err)
		}
	})
}

func TestHostAddresses(t *testing.T) {
	routes := `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 172.17.0.0/16 2 0 2
        |-- 172.17.0.0
           /16 link UNICAST
        |-- 172.17.0.1
           /32 host LOCAL
        |-- 172.17.255.255
           /32 link BROADCAST
     |-- 52.10.0.0
        /24 host LOCAL
Local:
        |-- 172.17.0.1
           /32 host LOCAL
`
	six := `00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000b4675afffef69d1a 0c 40 20 80 veth1
20010db8000000000000000000000001 02 40 00 80     eth0
`
	got := append(localRoutes(routes), interfaces6(six)...)
	var want []netip.Prefix
	for _, p := range []string{"172.17.0.1/32", "52.10.0.0/24", "172.17.0.1/32", "2001:db8::1/128"} {
		want = append(want, netip.MustParsePrefix(p))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if _, err := hostAddresses(); err != nil {
		t.Error(err)
	}
}

// TestPolicies holds that a policy arrives as it was sent.
func TestPolicies(t *testing.T) {
	for _, n := range []network{
		{}, {Mode: "none"}, {Mode: "open", Allow: []string{"10.0.0.0/8", "fd00::1"}}, {Mode: "allow-list", Allow: []string{"1.2.3.4", "*.x.org"}},
	} {
		p, err := n.policy()
		if err != nil {
			t.Fatal(err)
		}
		again, err := networkOf(p).policy()
		if err != nil || !sameNetwork(p, again) {
			t.Errorf("%+v is %+v, %v", p, again, err)
		}
	}
	for _, n := range []network{{Mode: "all"}, {Allow: []string{"x.org"}}, {Mode: "none", Allow: []string{"1.2.3.4"}}, {Allow: make([]string, maxAllowed+1)}} {
		if _, err := n.policy(); err == nil {
			t.Errorf("%.40v is accepted", n)
		}
	}
}
