package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// A Mode says where sessions may connect to.
type Mode string

// The modes.
const (
	Open      Mode = "open"       // everywhere except the special ranges
	None      Mode = "none"       // nowhere
	AllowList Mode = "allow-list" // to what the policy allows, and nowhere else
)

// A Policy is a mode and what it allows. The zero value is Open, without exceptions.
type Policy struct {
	Mode Mode // "" = Open
	// Nets are exceptions from the special ranges, and in the mode AllowList all that sessions may connect to.
	Nets []netip.Prefix
	// Names are the host names that sessions may connect to in the mode AllowList. They are in lower case. "*.x.org" stands
	// for all names below x.org. A name is no exception from the special ranges, as its addresses are not the policy's.
	Names []string
	// Remotes and RemoteNames are more exceptions, which hold for fetches alone. RemoteNames are spelled as Names are. A name
	// among them is an exception from the ranges of networks, which are the private ones and those of carrier-grade NAT, and not
	// from those of a machine or its cloud, such as loopback or metadata: its addresses are not the policy's.
	Remotes     []netip.Prefix
	RemoteNames []string
}

// An ItemError says which item of a policy is unfit.
type ItemError struct {
	Index  int  // in the list; -1 = the mode
	Remote bool // the list is that of the remotes
	Reason string
}

func (e *ItemError) Error() string { return e.Reason }

// Parse returns the policy of a mode, a list of items, and remotes. The items are addresses, CIDRs and, in the mode AllowList, host
// names; the remotes are the same in every mode. Its error is an *ItemError.
func Parse(mode Mode, allow []string, remotes ...string) (Policy, error) {
	p := Policy{Mode: mode}
	switch mode {
	case "":
		p.Mode = Open
	case Open, AllowList:
	case None:
		if len(allow) > 0 {
			return p, &ItemError{Reason: `must be empty with the mode "none"; Remotes allows addresses to fetches`}
		}
	default:
		return p, &ItemError{Index: -1, Reason: `must be "open", "none" or "allow-list"`}
	}
	var fault *ItemError
	if p.Nets, p.Names, fault = parse(allow, p.Mode == AllowList); fault != nil {
		return p, fault
	}
	if p.Remotes, p.RemoteNames, fault = parse(remotes, true); fault != nil {
		fault.Remote = true
		return p, fault
	}
	return p, nil
}

// parse reads a list that may hold host names, or not.
func parse(items []string, withNames bool) (nets []netip.Prefix, names []string, fault *ItemError) {
	for i, item := range items {
		net, err := ParseNet(item)
		if err == nil {
			nets = append(nets, net)
			continue
		}
		name := strings.ToLower(item)
		switch {
		case err != errNoNet:
			return nil, nil, &ItemError{Index: i, Reason: fmt.Sprintf("%.100q: %v", item, err)}
		case !withNames:
			return nil, nil, &ItemError{Index: i, Reason: fmt.Sprintf(`%.100q is no address and no CIDR; host names are for the mode "allow-list"`, item)}
		case !isName(name):
			return nil, nil, &ItemError{Index: i, Reason: fmt.Sprintf("%.100q is no address, no CIDR and no host name", item)}
		}
		names = append(names, name)
	}
	return nets, names, nil
}

var errNoNet = fmt.Errorf("no address and no CIDR")

// ParseNet reads an address or a CIDR.
func ParseNet(item string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(item); err == nil {
		if addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("must have no zone")
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	net, err := netip.ParsePrefix(item)
	switch {
	case err != nil && strings.Contains(item, "/"):
		return net, fmt.Errorf("is no CIDR")
	case err != nil:
		return net, errNoNet
	case net.Addr().Is4In6():
		return net, fmt.Errorf("must be written as IPv4")
	case net != net.Masked():
		return net, fmt.Errorf("has bits after its prefix; the range is %v", net.Masked())
	}
	return net, nil
}

var name = regexp.MustCompile(`^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)

func isName(s string) bool { return len(s) <= 253 && name.MatchString(s) && !Numeric(s) }

// Numeric reports whether a resolver may read a host as an IPv4 address in an unusual spelling, such as 0x7f.1 or 2130706433.
func Numeric(host string) bool {
	labels := strings.Split(strings.TrimSuffix(strings.ToLower(host), "."), ".")
	last := labels[len(labels)-1]
	hex, isHex := strings.CutPrefix(last, "0x")
	if isHex {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last == "" || strings.Trim(last, "0123456789") == ""
}

// Allows reports whether sessions may connect to a name by the mode AllowList.
func (p Policy) Allows(host string) bool { return has(p.Names, host) }

// has reports whether a host is among names.
func has(names []string, host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return slices.ContainsFunc(names, func(name string) bool {
		below, wild := strings.CutPrefix(name, "*.")
		return name == host || wild && strings.HasSuffix(host, "."+below)
	})
}

// A Refused is the error of an address in a special range.
type Refused struct {
	Host string // the name that led to it; "" = none
	Addr netip.Addr
	Why  string // completes "it is ..."
}

func (e *Refused) Error() string {
	if !e.Addr.IsValid() {
		return fmt.Sprintf("the host %q is refused: it is %s", e.Host, e.Why)
	}
	what := "the address " + e.Addr.String() + " is refused"
	if e.Host != "" && e.Host != e.Addr.String() {
		what = fmt.Sprintf("the address %v of %s is refused", e.Addr, e.Host)
	}
	return fmt.Sprintf("%s: it is %s. Config.Egress.Remotes with %q allows it to fetches",
		what, e.Why, netip.PrefixFrom(e.Addr, e.Addr.BitLen()))
}

// Check returns a *Refused if an address is in a special range and the policy makes no exception. It does not depend on the
// mode.
//
// An exception must be as narrow as the range that it is an exception from: 10.1.0.0/16 and 10.0.0.0/8 allow private addresses,
// 0.0.0.0/0 does not. So a metadata service is allowed only by its own address. An IPv4 address that is written as an IPv6
// address is checked as the IPv4 address.
func (p Policy) Check(addr netip.Addr) error {
	addr = addr.WithZone("").Unmap()
	if why := p.refuses(addr); why != "" {
		return &Refused{Addr: addr, Why: why}
	}
	return nil
}

// CheckRemote is Check for a fetch from a host, to which more is allowed. host is the name that led to the address, or the address.
func (p Policy) CheckRemote(host string, addr netip.Addr) error {
	p.Nets = slices.Concat(p.Nets, p.Remotes)
	if has(p.RemoteNames, host) {
		p.Nets = slices.Concat(p.Nets, networks)
	}
	err := p.Check(addr)
	if refused, ok := errors.AsType[*Refused](err); ok {
		refused.Host = host
	}
	return err
}

// refuses returns why an address is refused; "" = it is not.
func (p Policy) refuses(addr netip.Addr) (why string) {
	if !addr.IsValid() {
		return "no address"
	}
	narrowest := -1
	for _, s := range specials {
		if s.prefix.Contains(addr) && s.prefix.Bits() > narrowest && !p.excepted(addr, s.prefix) {
			narrowest, why = s.prefix.Bits(), s.name
		}
	}
	return why
}

// excepted reports whether an exception from a range has the address.
func (p Policy) excepted(addr netip.Addr, from netip.Prefix) bool {
	return slices.ContainsFunc(p.Nets, func(net netip.Prefix) bool {
		return slices.ContainsFunc(spellings(net), func(net netip.Prefix) bool { return net.Contains(addr) && net.Bits() >= from.Bits() })
	})
}
