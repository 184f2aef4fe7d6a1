package naming

import (
	"net/netip"
	"strings"
)

// errForbiddenHost covers what a pool's instances can reach by their place in
// the network and by no other right. Private and loopback addresses are not
// among it: git servers live there.
var errForbiddenHost = badRemote("its host is an address of the machine's surroundings (link-local, metadata, multicast or unspecified), and no git server")

// ec2Services holds the addresses at which EC2 offers metadata, credentials,
// time and names over IPv6.
var ec2Services = netip.MustParsePrefix("fd00:ec2::/32")

// thisNetwork is 0.0.0.0/8. Linux takes 0.0.0.0 for the machine itself.
var thisNetwork = netip.MustParsePrefix("0.0.0.0/8")

// addressHost returns addr as a canonical host, or errForbiddenHost.
func addressHost(addr netip.Addr) (string, error) {
	addr = addr.Unmap()
	if isForbidden(addr) || isForbidden(embeddedIPv4(addr)) {
		return "", errForbiddenHost
	}
	if addr.Is6() {
		return "[" + addr.String() + "]", nil
	}
	return addr.String(), nil
}

func isForbidden(addr netip.Addr) bool {
	return addr.IsValid() && (addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast() ||
		addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) ||
		thisNetwork.Contains(addr) || ec2Services.Contains(addr))
}

var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	compatible = netip.MustParsePrefix("::/96")
)

// embeddedIPv4 returns the IPv4 address that a gateway would make of addr, or
// the zero Addr.
func embeddedIPv4(addr netip.Addr) netip.Addr {
	b := addr.As16()
	switch {
	case addr.IsLoopback():
	case nat64.Contains(addr), compatible.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return netip.Addr{}
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

// isMetadataName reports whether host is a name by which a cloud offers its
// metadata service. Other names may resolve to it too: what a container can
// reach is for the network to decide, this only refuses what is evident.
func isMetadataName(host string) bool {
	switch host {
	case "instance-data", "instance-data.ec2.internal", "metadata.google.internal":
		return true
	}
	return false
}
