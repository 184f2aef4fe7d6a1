package naming

import (
	"net/netip"
	"slices"
	"strings"
)

// errForbiddenHost is the error of a host that a pool's instances can reach only because of their place in the network.
// Private and loopback addresses have names, because git servers have such addresses. The agent of a container does not connect to
// them unless the pool's egress allows it.
var errForbiddenHost = badRemote("its host is an address of the machine's surroundings (link-local, metadata, multicast or unspecified), and no git server")

// ec2Services holds the addresses at which EC2 offers metadata, credentials,
// time and names over IPv6.
var ec2Services = netip.MustParsePrefix("fd00:ec2::/32")

// thisNetwork is 0.0.0.0/8. On Linux, 0.0.0.0 is the machine itself.
var thisNetwork = netip.MustParsePrefix("0.0.0.0/8")

// addressHost returns addr as a canonical host, or errForbiddenHost.
func addressHost(addr netip.Addr) (string, error) {
	addr = addr.Unmap()
	if isForbidden(addr) || slices.ContainsFunc(embeddedIPv4(addr), isForbidden) {
		return "", errForbiddenHost
	}
	if addr.Is6() {
		return "[" + addr.String() + "]", nil
	}
	return addr.String(), nil
}

func isForbidden(addr netip.Addr) bool {
	return addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast() ||
		addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) ||
		thisNetwork.Contains(addr) || ec2Services.Contains(addr) || slices.Contains(metadataAddrs, addr)
}

// embeddings lists the bytes of IPv6 addresses that a gateway or a kernel takes for an IPv4 address.
var embeddings = []struct {
	within netip.Prefix
	bytes  [4]int
}{
	{netip.MustParsePrefix("::/96"), [4]int{12, 13, 14, 15}},           // IPv4-compatible
	{netip.MustParsePrefix("::ffff:0:0:0/96"), [4]int{12, 13, 14, 15}}, // IPv4-translated
	{netip.MustParsePrefix("64:ff9b::/96"), [4]int{12, 13, 14, 15}},    // NAT64
	{netip.MustParsePrefix("2002::/16"), [4]int{2, 3, 4, 5}},           // 6to4
	// NAT64 with a prefix of 96, 64, 56 or 48 bits that a network chooses itself. The three shorter prefixes leave out
	// byte 8.
	{localNAT64, [4]int{12, 13, 14, 15}},
	{localNAT64, [4]int{9, 10, 11, 12}},
	{localNAT64, [4]int{7, 9, 10, 11}},
	{localNAT64, [4]int{6, 7, 9, 10}},
}

var localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")

// embeddedIPv4 returns the IPv4 addresses that addr may stand for.
func embeddedIPv4(addr netip.Addr) (addrs []netip.Addr) {
	if !addr.Is6() || addr.IsLoopback() {
		return nil
	}
	b := addr.As16()
	for _, e := range embeddings {
		v4 := netip.AddrFrom4([4]byte{b[e.bytes[0]], b[e.bytes[1]], b[e.bytes[2]], b[e.bytes[3]]})
		// Read with the wrong prefix, the address is mostly zeros.
		padding := e.within == localNAT64 && thisNetwork.Contains(v4)
		if e.within.Contains(addr) && !padding {
			addrs = append(addrs, v4)
		}
	}
	return addrs
}

// IsLoopback reports whether the host is the machine itself: localhost, a name below it, 127.0.0.0/8 or [::1]. In a
// container, that is the container.
func (r Repository) IsLoopback() bool {
	host, _, _ := strings.Cut(r.Host, ":")
	if inner, _, ok := cutBrackets(r.Host); ok {
		host = inner
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// isNumeric reports whether the resolver would read host as an IPv4 address:
// up to four numbers, decimal, octal or hexadecimal.
func isNumeric(host string) bool {
	labels := strings.Split(host, ".")
	for _, label := range labels {
		hex, isHex := strings.CutPrefix(label, "0x")
		notHex := func(r rune) bool { return unhex(byte(r)) < 0 }
		if !isDigits(label) && (!isHex || strings.IndexFunc(hex, notHex) >= 0) {
			return false
		}
	}
	return len(labels) <= 4
}
