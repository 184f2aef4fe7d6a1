package reach

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// heldPorts is how many ports are held for each transport and family.
const heldPorts = 32

// ports are local ports that no session can take, for the time when sessions have taken all others. Sockets that this program
// has bound to them hold them: SO_REUSEPORT lets none but this program's uid bind another one. Connections share a port if
// they go to different remotes.
type ports struct {
	holders []int // descriptors
	numbers []int

	mu   sync.Mutex
	busy map[int]bool // with UDP; the answers of two look-ups from one port could not be told apart
}

// holdPorts holds as many ports as there are, up to heldPorts. With none, connections fail while sessions have taken all ports.
func holdPorts() *ports {
	p := &ports{busy: make(map[int]bool)}
	first, last := localRange()
	for port := 65535; port > 1024 && len(p.numbers) < heldPorts; port-- {
		if first <= port && port <= last {
			continue // the kernel gives those out
		}
		if fds, ok := hold(port); ok {
			p.holders = append(p.holders, fds...)
			p.numbers = append(p.numbers, port)
		}
	}
	return p
}

// localRange returns the ports that the kernel gives to sockets that ask for none.
func localRange() (first, last int) {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if fields := strings.Fields(string(text)); len(fields) == 2 {
		first, _ = strconv.Atoi(fields[0])
		last, _ = strconv.Atoi(fields[1])
	}
	return first, last
}

// hold takes a port for both transports and both families. A family that the machine does not have does not count.
func hold(port int) (fds []int, ok bool) {
	for _, family := range []int{syscall.AF_INET, syscall.AF_INET6} {
		for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
			fd, err := bind(family, kind, port)
			switch {
			case err == nil:
				fds = append(fds, fd)
			case errors.Is(err, syscall.EADDRINUSE) || family == syscall.AF_INET:
				for _, fd := range fds {
					syscall.Close(fd)
				}
				return nil, false
			}
		}
	}
	return fds, true
}

func bind(family, kind, port int) (int, error) {
	fd, err := syscall.Socket(family, kind|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	var to syscall.Sockaddr = &syscall.SockaddrInet4{Port: port}
	if family == syscall.AF_INET6 {
		to = &syscall.SockaddrInet6{Port: port}
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 1)
	}
	err = errors.Join(err, share(fd), syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1))
	if err == nil {
		err = syscall.Bind(fd, to)
	}
	if err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

const soReusePort = 15 // SO_REUSEPORT; package syscall does not have it

func share(fd int) error { return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soReusePort, 1) }

// release ends the holding.
func (p *ports) release() {
	for _, fd := range p.holders {
		syscall.Close(fd)
	}
	p.holders = nil
}

// dial connects to an address, from a held port if there is no other.
func (p *ports) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil || !exhausted(err) {
		return conn, err
	}
	to, parseErr := netip.ParseAddrPort(address)
	if parseErr != nil {
		return nil, err
	}
	for _, port := range p.numbers {
		held, heldErr := p.dialFrom(ctx, network, to, port)
		if heldErr == nil {
			return held, nil
		}
		if !exhausted(heldErr) {
			return nil, heldErr
		}
	}
	return nil, err
}

// exhausted reports whether no port was free. Linux says EADDRNOTAVAIL for TCP, and EAGAIN for UDP.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EADDRINUSE)
}

func (p *ports) dialFrom(ctx context.Context, network string, to netip.AddrPort, port int) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = share(int(fd)) }), err)
	}}
	family := "4"
	if to.Addr().Unmap().Is6() {
		family = "6"
	}
	if strings.HasPrefix(network, "udp") {
		if !p.take(port) {
			return nil, syscall.EADDRNOTAVAIL
		}
		d.LocalAddr = &net.UDPAddr{Port: port}
		conn, err := d.DialContext(ctx, "udp"+family, to.String())
		if err != nil {
			p.leave(port)
			return nil, err
		}
		return &datagrams{UDPConn: conn.(*net.UDPConn), leave: sync.OnceFunc(func() { p.leave(port) })}, nil
	}
	d.LocalAddr = &net.TCPAddr{Port: port}
	conn, err := d.DialContext(ctx, "tcp"+family, to.String())
	if err != nil {
		return nil, err
	}
	conn.(*net.TCPConn).SetLinger(0) // no TIME_WAIT, in which the port would have no other connection to this remote
	return conn, nil
}

func (p *ports) take(port int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	free := !p.busy[port]
	p.busy[port] = true
	return free
}

func (p *ports) leave(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.busy, port)
}

// datagrams is a UDP socket on a held port.
type datagrams struct {
	*net.UDPConn
	leave func()
}

// Close frees the port for another look-up.
func (d *datagrams) Close() error {
	defer d.leave()
	return d.UDPConn.Close()
}
