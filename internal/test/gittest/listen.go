// Package gittest serves git repositories over HTTP to tests and examples, where containers can reach them.
//
// A Repo is made in memory and served by Serve, in Go alone, for examples on a machine without git. A SmartServer runs
// the machine's own git behind HTTP, as hosting services do, and can misbehave on request, for tests.
package gittest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/moby/moby/client"
)

// An address is the address of a server for two kinds of client.
type address struct {
	container string // host:port for a container of the engine
	local     string // host:port for this process
}

// desktopHost is this machine's name in the containers of Docker Desktop, which has the bridge in a virtual machine.
const desktopHost = "host.docker.internal"

// listen opens a port that containers of the engine can reach, and other machines cannot: on the engine's default
// bridge, or on loopback if this machine does not have the bridge. A nil engine means loopback.
func listen(ctx context.Context, docker *client.Client) (net.Listener, address, error) {
	host, desktop := netip.AddrFrom4([4]byte{127, 0, 0, 1}), false
	if docker != nil {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		bridge, err := docker.NetworkInspect(ctx, "bridge", client.NetworkInspectOptions{})
		if err != nil {
			return nil, address{}, fmt.Errorf("gittest: asking the engine at %s for its bridge: %w", docker.DaemonHost(), err)
		}
		desktop = true
		for _, config := range bridge.Network.IPAM.Config {
			if ours, found := addressIn(config.Subnet); found {
				host, desktop = ours, false
				break
			}
		}
	}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(host, 0).String())
	if err != nil {
		return nil, address{}, fmt.Errorf("gittest: %w", err)
	}
	local := listener.Addr().String()
	where := address{container: local, local: local}
	if desktop {
		_, port, _ := net.SplitHostPort(local)
		where.container = net.JoinHostPort(desktopHost, port)
	}
	return listener, where, nil
}

// addressIn returns this machine's own IPv4 address in a subnet. The engine does not always report the bridge's
// gateway, but the gateway is the interface in the bridge's subnet.
func addressIn(subnet netip.Prefix) (netip.Addr, bool) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, false
	}
	for _, a := range addresses {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().Is4() && subnet.Contains(prefix.Addr()) {
			return prefix.Addr(), true
		}
	}
	return netip.Addr{}, false
}
