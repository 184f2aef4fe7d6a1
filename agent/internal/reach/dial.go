package reach

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/berth-go/berth/agent/egress"
)

// words is an error in the words of git and curl for it, which package gitremote knows.
type words string

func (w words) Error() string { return string(w) }

// Check resolves a host and returns an *egress.Refused if one of its addresses is refused. It does not report that a name
// cannot be resolved: it is for remotes that another proxy connects to.
func (r *Route) Check(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	addrs, err := r.dialer.resolve(ctx, host)
	if _, refused := errors.AsType[*egress.Refused](err); refused {
		return err
	}
	for _, addr := range addrs {
		if err := r.dialer.Policy.CheckRemote(host, addr); err != nil {
			return err
		}
	}
	return nil
}

// resolve returns the addresses of a host.
func (d *Dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	literal := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if addr, err := netip.ParseAddr(literal); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	if egress.Numeric(host) || strings.ContainsAny(host, " /\\%@:[]\x00") {
		return nil, &egress.Refused{Host: host, Why: "an unusual spelling of an address"}
	}
	if name := strings.ToLower(strings.TrimSuffix(host, ".")); name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil // RFC 6761
	}
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, words("Could not resolve host: " + host)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

// dial connects to a host at an address that the policy does not refuse.
func (d *Dialer) dial(ctx context.Context, host, port string) (net.Conn, error) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return nil, words(strconv.Quote(port) + " is no port")
	}
	ctx, cancel := context.WithTimeout(ctx, d.ConnectTimeout)
	defer cancel()
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	var allowed []netip.AddrPort
	var refused error
	for _, addr := range addrs {
		if err := d.Policy.CheckRemote(host, addr); err != nil {
			refused = cmp.Or(refused, err)
			continue
		}
		allowed = append(allowed, netip.AddrPortFrom(addr, uint16(number)))
	}
	if len(allowed) == 0 {
		return nil, refused
	}
	conn, err := d.race(ctx, allowed)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		return nil, words("the remote takes no connection: no answer for " + d.ConnectTimeout.String())
	}
	return nil, words("Failed to connect to " + host + " port " + port + ": " + cause(err))
}

// cause returns the words of an errno alone, with a capital letter, as git and curl have them.
func cause(err error) string {
	text := err.Error()
	if failed, ok := errors.AsType[*os.SyscallError](err); ok {
		text = failed.Err.Error()
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// stagger is the pause before the next of several addresses is tried beside the first; see RFC 8305.
const stagger = 250 * time.Millisecond

// race connects to the first of several addresses that answers.
func (d *Dialer) race(ctx context.Context, to []netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	failed := make(chan struct{}, len(to))
	for i, addr := range to {
		go func() {
			wait := time.NewTimer(time.Duration(i) * stagger)
			defer wait.Stop()
			for range i { // one address sooner for each that has failed
				select {
				case <-wait.C:
					wait.Reset(0)
				case <-failed:
				case <-ctx.Done():
				}
			}
			conn, err := d.ports.dial(ctx, "tcp", addr.String())
			if err != nil {
				failed <- struct{}{}
			}
			select {
			case results <- result{conn, err}:
			case <-ctx.Done():
				if conn != nil {
					conn.Close()
				}
			}
		}()
	}
	var first error
	for range to {
		select {
		case r := <-results:
			if r.err == nil {
				return r.conn, nil
			}
			first = cmp.Or(first, r.err)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, first
}
