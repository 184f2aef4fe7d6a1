package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/sockdiag"
	"github.com/berth-go/berth/agent/internal/wire"
)

// A connection is one that a client has with what a session listens on. It has the streams of a command.
type connection struct {
	conn    *net.TCPConn
	manager string
	since   time.Time
}

// lines are the connections of all sessions.
type lines struct {
	commands *commands
	sessions *sessions
	managers *managers
	kept     *budget
}

// dial makes a connection once, however often the client asks for it.
func (ls *lines) dial(r *request) error {
	var to wire.Dial
	if err := readJSON(r, &to); err != nil {
		return err
	}
	c, fresh := ls.commands.add(r.values["id"])
	if fresh {
		c.err = ls.connect(c, to)
		close(c.ready)
		if c.err != nil { // a repetition must fail in the same way, for a limited time
			time.AfterFunc(2*wire.Poll, func() { ls.commands.release(c.id) })
		}
	} else if _, err := ls.commands.get(r.Context(), c.id); err != nil {
		return err
	}
	if c.err != nil {
		return c.err
	}
	if c.line == nil {
		return &wire.Error{Code: wire.CodeInvalid, Message: "it is no connection"}
	}
	return writeJSON(r, wire.Dialled{Local: addrPort(c.line.conn.LocalAddr()), Remote: addrPort(c.line.conn.RemoteAddr())})
}

func addrPort(a net.Addr) netip.AddrPort {
	at := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

func (ls *lines) connect(c *command, to wire.Dial) error {
	s, err := ls.sessions.enter(to.Session)
	if err != nil {
		return err
	}
	defer s.starting.Done()
	c.session = s
	if s.lines.Add(1) > wire.MostConnections {
		err = &wire.Error{Code: wire.CodeInternal, Message: fmt.Sprintf("the session has %d connections already", wire.MostConnections)}
	} else {
		err = ls.open(c, to)
	}
	if err != nil {
		ls.leave(s)
	}
	return err
}

// leave records that a connection of a session has ended, or could not be made.
func (ls *lines) leave(s *session) {
	s.lines.Add(-1)
	ls.sessions.leave(s, true)
}

func (ls *lines) open(c *command, to wire.Dial) error {
	ctx, cancel := context.WithTimeout(context.Background(), wire.Poll) // not bounded by the request: a repetition means this connection
	defer cancel()
	conn, err := dialSession(ctx, to, c.session.UID)
	if err != nil {
		return err
	}
	in, out, err := filesOf(conn)
	if err != nil {
		conn.Close()
		return err
	}
	c.line = &connection{conn: conn, manager: to.Manager, since: time.Now()}
	c.in, c.out = newInput(half{in}), newOutput(out, ls.kept)
	return nil
}

// filesOf returns a descriptor of a connection for each direction.
func filesOf(conn *net.TCPConn) (in, out *os.File, err error) {
	if in, err = conn.File(); err != nil {
		return nil, nil, err
	}
	if out, err = conn.File(); err != nil {
		in.Close()
	}
	return in, out, err
}

// half is the direction of a connection in which it is written.
type half struct{ *os.File }

// Close ends the direction.
func (h half) Close() error {
	if raw, err := h.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_WR) })
	}
	return h.File.Close()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// linger is how long a connection that its client has closed may take to pass on what was sent.
const linger = 20 * time.Second

// close ends a connection, behind what its client has sent unless it is reset.
func (ls *lines) close(c *command, reset bool) {
	abandon := func() {
		c.line.conn.SetLinger(0) // the other side must not take what it has for the whole
		c.in.abandon()
	}
	go func() {
		if reset {
			abandon()
		} else {
			late := time.AfterFunc(linger, abandon)
			c.in.finish()
			late.Stop()
		}
		c.out.drop()
		c.line.conn.Close()
		ls.leave(c.session)
	}()
}

// hangUp resets the connections of a session; nil = those whose managers have been away for long.
func (ls *lines) hangUp(of *session) {
	var over []*command
	ls.commands.mu.Lock()
	for _, c := range ls.commands.byID {
		if !isClosed(c.ready) || c.line == nil {
			continue
		}
		if c.session == of || of == nil && time.Since(c.line.since) > wire.Grace && ls.managers.away(c.line.manager) > wire.Grace {
			over = append(over, c)
		}
	}
	ls.commands.mu.Unlock()
	for _, c := range over {
		c.out.drop()
		ls.commands.end(c.id, true)
	}
}

// errRefused is the error for an address at which a session does not listen.
func errRefused(address string) error {
	return &wire.Error{Code: wire.CodeRefused, Message: fmt.Sprintf("the session does not listen at %s", address)}
}

// dialSession connects with what processes of a uid listen on.
func dialSession(ctx context.Context, to wire.Dial, uid int) (*net.TCPConn, error) {
	want, err := parseTarget(to)
	if err != nil {
		return nil, &wire.Error{Code: wire.CodeInvalid, Message: err.Error()}
	}
	before, err := sockdiag.Listeners()
	if err != nil {
		return nil, err
	}
	failed := errRefused(to.Address)
	for _, at := range want.candidates(before, uint32(uid)) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
		if err != nil {
			if !errors.Is(err, syscall.ECONNREFUSED) {
				failed = err
			}
			continue
		}
		tcp := conn.(*net.TCPConn)
		if isOf(tcp, at, before, uint32(uid)) {
			return tcp, nil
		}
		tcp.SetLinger(0)
		tcp.Close()
	}
	return nil, failed
}

// A target is where a client wants to connect to.
type target struct {
	ip     netip.Addr // the zero value = any of the loopback's
	port   uint16
	v4, v6 bool // which families
}

func parseTarget(to wire.Dial) (t target, err error) {
	t = target{v4: to.Network != "tcp6", v6: to.Network != "tcp4"}
	if !slices.Contains([]string{"tcp", "tcp4", "tcp6"}, to.Network) {
		return t, fmt.Errorf("network %q: a session is dialled by tcp, tcp4 or tcp6", to.Network)
	}
	host, port, err := net.SplitHostPort(to.Address)
	if err != nil {
		return t, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return t, fmt.Errorf("address %s: the port must be a number from 1 to 65535", to.Address)
	}
	t.port = uint16(n)
	if host == "" || host == "localhost" {
		return t, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return t, fmt.Errorf("address %s: the host must be localhost or an address of the container", to.Address)
	}
	if ip = ip.Unmap(); ip.IsUnspecified() {
		t.v4, t.v6 = t.v4 && ip.Is4(), t.v6 && ip.Is6()
		return t, nil
	}
	if !isOwn(ip) || ip.Is4() && !t.v4 || ip.Is6() && !t.v6 {
		return t, fmt.Errorf("address %s: the host is no address of the container in network %s", to.Address, to.Network)
	}
	t.ip = ip
	return t, nil
}

// isOwn reports whether an address is one of this network namespace.
func isOwn(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	return ip.IsLoopback() || err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool {
		own, err := netip.ParsePrefix(a.String())
		return err == nil && own.Addr() == ip
	})
}

// candidates returns the addresses at which a uid may listen for the target, the most likely first.
func (t target) candidates(all []sockdiag.Listener, uid uint32) (some []netip.AddrPort) {
	v4, v6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	add := func(ip netip.Addr) {
		at := netip.AddrPortFrom(ip, t.port)
		if (ip.Is4() && t.v4 || ip.Is6() && t.v6) && (!t.ip.IsValid() || ip == t.ip) && !slices.Contains(some, at) {
			some = append(some, at)
		}
	}
	for _, l := range all {
		if l.UID != uid || l.Addr.Port() != t.port {
			continue
		}
		switch ip := l.Addr.Addr(); {
		case !ip.IsUnspecified():
			add(ip)
		case t.ip.IsValid():
			if ip.Is6() || t.ip.Is4() {
				add(t.ip)
			}
		case ip.Is4():
			add(v4)
		default: // of both families, unless its maker has asked for one
			add(v6)
			add(v4)
		}
	}
	slices.SortStableFunc(some, func(a, b netip.AddrPort) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	return some
}

// isOf reports whether the other side of a connection belongs to a uid. Until the other side has accepted it, the kernel does not tell.
// Then the socket that listens must be the uid's, the same before and after. One that has listened only meanwhile has accepted the
// connection, or has reset it.
func isOf(conn *net.TCPConn, at netip.AddrPort, before []sockdiag.Listener, uid uint32) bool {
	after, err := sockdiag.Listeners()
	if err != nil {
		return false
	}
	if owner := ownerOf(at, addrPort(conn.LocalAddr())); owner != 0 {
		return owner == uid
	}
	was, is := listener(before, at), listener(after, at)
	return was != nil && is != nil && *was == *is && was.UID == uid
}

// ownerOf returns the uid of a socket that is connected; 0 = it is root's, or it is not known.
func ownerOf(local, remote netip.AddrPort) uint32 {
	if local.Addr().Is4() {
		if owner, known := sockdiag.Owner(syscall.IPPROTO_TCP, local, remote); known {
			return owner
		}
	}
	owner, err := sockdiag.OwnerInTable(local, remote)
	if err != nil {
		return 0
	}
	return owner
}

// listener returns the socket that takes connections to an address: of that address, of its whole family, or of both families.
func listener(all []sockdiag.Listener, at netip.AddrPort) *sockdiag.Listener {
	var best *sockdiag.Listener
	score := 0
	for i, l := range all {
		ip, s := l.Addr.Addr(), 0
		switch {
		case l.Addr.Port() != at.Port():
		case ip == at.Addr():
			s = 3
		case ip.IsUnspecified() && ip.Is4() == at.Addr().Is4():
			s = 2
		case ip.IsUnspecified() && ip.Is6():
			s = 1
		}
		if s > score {
			best, score = &all[i], s
		}
	}
	return best
}
