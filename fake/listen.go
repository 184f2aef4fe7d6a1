package fake

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent"
)

// listener is a port on which a command listens.
type listener struct {
	process *process
	port    uint16
	queue   chan *agent.Conn // connections that were not accepted yet
	closed  chan struct{}
	once    sync.Once
}

// Sizes and numbers of ports.
const (
	backlog   = 1024
	firstPort = 32768 // of those that are chosen
)

// listen is Command.Listen.
func (p *process) listen(port int) (net.Listener, error) {
	n, s := p.inside.container.node, p.session
	n.mu.Lock()
	defer n.mu.Unlock()
	s.listeners = slices.DeleteFunc(s.listeners, func(l *listener) bool { return l.over() })
	at := func(port int) (int, bool) {
		return slices.BinarySearchFunc(s.listeners, uint16(port), func(l *listener, port uint16) int { return cmp.Compare(l.port, port) })
	}
	if port == 0 {
		for port = firstPort; ; port++ {
			if _, taken := at(port); !taken {
				break
			}
		}
	}
	i, taken := at(port)
	switch {
	case port < 0 || port >= 1<<16:
		return nil, fmt.Errorf("fake: listening on port %d: there is no such port", port)
	case isClosed(p.ended):
		return nil, net.ErrClosed
	case taken:
		return nil, fmt.Errorf("fake: listening on port %d: %w", port, syscall.EADDRINUSE)
	}
	l := &listener{process: p, port: uint16(port), queue: make(chan *agent.Conn, backlog), closed: make(chan struct{})}
	s.listeners = slices.Insert(s.listeners, i, l)
	return l, nil
}

// over reports whether nothing can connect any more.
func (l *listener) over() bool { return isClosed(l.closed) || isClosed(l.process.ended) }

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	if !l.over() {
		select {
		case c := <-l.queue:
			return c, nil
		case <-l.closed:
		case <-l.process.ended:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	for {
		select {
		case c := <-l.queue:
			c.Break(syscall.ECONNRESET)
		default:
			return nil
		}
	}
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.address()) }

func (l *listener) address() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), l.port)
}

// Dial implements [orchestrator.Inside].
func (i *inside) Dial(ctx context.Context, d agent.Dial) (*agent.Conn, error) {
	r, err := i.begin(ctx, Dial, d.Session, i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return nil, err
	}
	conn, l, err := i.dial(d)
	if err == nil {
		i.container.node.engine.running.Go(func() { i.hold(conn, l, d) })
	}
	if err = i.finish(ctx, r, err); err != nil {
		if conn != nil {
			conn.Close()
		}
		return nil, err
	}
	return conn, nil
}

func (i *inside) dial(d agent.Dial) (*agent.Conn, *listener, error) {
	port, err := dialled(d)
	if err != nil {
		return nil, nil, err
	}
	n := i.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := i.alive(); err != nil {
		return nil, nil, err
	}
	s, err := i.container.usable(d.Session)
	if err != nil {
		return nil, nil, err
	}
	refused := fmt.Errorf("fake: the session does not listen at %s: %w", d.Address, syscall.ECONNREFUSED)
	at := slices.IndexFunc(s.listeners, func(l *listener) bool { return l.port == port && !l.over() })
	if at < 0 {
		return nil, nil, refused
	}
	l := s.listeners[at]
	near, far := agent.ConnPair(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: firstPort}, l.Addr())
	select {
	case l.queue <- far:
	default: // it is full
		return nil, nil, refused
	}
	s.lines++
	return near, l, nil
}

// dialled returns the port that is to be dialled.
func dialled(d agent.Dial) (uint16, error) {
	host, text, err := net.SplitHostPort(d.Address)
	if err != nil {
		return 0, fmt.Errorf("fake: %w", err)
	}
	ip, _ := netip.ParseAddr(host)
	port, err := strconv.ParseUint(text, 10, 16)
	switch {
	case !slices.Contains([]string{"tcp", "tcp4", "tcp6"}, d.Network):
		return 0, fmt.Errorf("fake: network %q: a session is dialled by tcp, tcp4 or tcp6", d.Network)
	case err != nil || port == 0:
		return 0, fmt.Errorf("fake: address %s: bad port", d.Address)
	case host != "" && host != "localhost" && !ip.IsLoopback() && !ip.IsUnspecified():
		return 0, fmt.Errorf("fake: address %s: the host is no address of the container", d.Address)
	}
	return uint16(port), nil
}

// hold holds a connection until the caller closes it, or until one of its ends is gone.
func (i *inside) hold(near *agent.Conn, l *listener, d agent.Dial) {
	select {
	case <-near.Closed():
	case <-i.done:
	case <-l.process.ended:
		near.Peer().Break(serverEnded(i))
		select { // it is open until its caller closes it
		case <-near.Closed():
		case <-i.done:
		}
	}
	if isClosed(i.done) {
		near.Peer().Break(i.err)
		near.Break(syscall.ECONNRESET)
	}
	n := i.container.node
	n.mu.Lock()
	l.process.session.lines--
	l.process.session.since = time.Now()
	n.mu.Unlock()
	if d.Ended != nil {
		d.Ended()
	}
}

// serverEnded returns why a connection is lost whose server has ended.
func serverEnded(i *inside) error {
	n := i.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	return cmp.Or(i.alive(), error(syscall.ECONNRESET))
}

// Ports implements [orchestrator.Inside].
func (i *inside) Ports(ctx context.Context, session string) ([]agent.Port, error) {
	r, err := i.begin(ctx, Ports, session, i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return nil, err
	}
	ports, err := i.ports(session)
	if err = i.finish(ctx, r, err); err != nil {
		return nil, err
	}
	return ports, nil
}

func (i *inside) ports(session string) ([]agent.Port, error) {
	n := i.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := i.alive(); err != nil {
		return nil, err
	}
	s, err := i.container.usable(session)
	if err != nil {
		return nil, err
	}
	ports := []agent.Port{}
	for _, l := range s.listeners {
		if !l.over() {
			ports = append(ports, agent.Port{Addr: l.address(), Pid: l.process.record.Pid, Program: l.process.started.Args[0]})
		}
	}
	return ports, nil
}
