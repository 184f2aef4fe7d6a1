package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/names"
	"github.com/berth-go/berth/agent/internal/wall"
)

// A resolver is the resolver of the sessions while it runs.
type resolver struct {
	server   *names.Server
	listener net.Listener
	packets  net.PacketConn
	serving  sync.WaitGroup
	upstream netip.AddrPort // the first server that it asks; the zero value = none
}

// startResolver makes the container look up names at an address of its own, where a resolver answers for the egress policy. It
// must start before sessions, which could take the address.
func startResolver(o Options) (*resolver, error) {
	r := &resolver{}
	address := netip.AddrPortFrom(o.Resolver, 53).String()
	var err, packetErr error
	r.listener, err = net.Listen("tcp", address)
	r.packets, packetErr = net.ListenPacket("udp", address)
	if err = errors.Join(err, packetErr); err != nil {
		r.close()
		return nil, fmt.Errorf("the resolver of sessions: %w", err)
	}
	upstream, err := names.TakeOver(o.ResolvConf, o.Resolver)
	if err != nil {
		r.close()
		return nil, fmt.Errorf("the resolver of sessions: %w", err)
	}
	if len(upstream) > 0 {
		r.upstream = upstream[0]
	}
	deny, err := wall.Subnets()
	if err != nil {
		r.close()
		return nil, err
	}
	r.server = names.NewServer(names.Config{
		Policy: o.Egress, Deny: deny, Upstream: upstream, Pin: o.Pin, Dial: new(net.Dialer).DialContext,
		Free: func(uid uint32) bool { return uid == 0 || uid == mirror.UID },
	})
	r.serving.Go(func() { r.server.Serve(r.listener) })
	r.serving.Go(func() { r.server.ServePacket(r.packets) })
	return r, nil
}

// close ends the resolver. The container keeps no other: it ends, too.
func (r *resolver) close() {
	if r.listener != nil {
		r.listener.Close()
	}
	if r.packets != nil {
		r.packets.Close()
	}
	if r.server != nil {
		r.server.Close()
	}
	r.serving.Wait()
}
