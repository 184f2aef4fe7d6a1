package gittest

import (
	"net"
	"net/netip"
	"net/url"

	"github.com/berth-go/berth/orchestrator"
)

// Egress returns the egress of a pool whose containers fetch from this package's servers. They have private addresses, which a
// pool refuses by default, and which may be this machine's own. remotes are the URLs of servers that have other addresses.
func Egress(remotes ...string) orchestrator.Egress {
	e := orchestrator.Egress{Allow: []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}}
	own, _ := net.InterfaceAddrs() // without them, the servers cannot listen either
	for _, a := range own {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().IsPrivate() {
			e.Allow = append(e.Allow, prefix.Addr().String())
		}
	}
	for _, remote := range remotes {
		u, err := url.Parse(remote)
		if err != nil {
			continue
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
			e.Allow = append(e.Allow, addr.String())
		}
	}
	return e
}
