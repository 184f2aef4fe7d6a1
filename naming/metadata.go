package naming

import (
	"net/netip"
	"slices"
	"strings"
)

// metadataAddrs holds the addresses of clouds' own services that are not link-local. Each is a single address, because
// git servers may have addresses next to it.
var metadataAddrs = []netip.Addr{
	netip.MustParseAddr("100.100.100.200"),    // Alibaba
	netip.MustParseAddr("168.63.129.16"),      // Azure
	netip.MustParseAddr("192.0.0.192"),        // Oracle
	netip.MustParseAddr("fd00:c1::a9fe:a9fe"), // Oracle
	netip.MustParseAddr("fd20:ce::254"),       // Google
	netip.MustParseAddr("fd00:42::42"),        // Scaleway
}

// isMetadataName reports whether host is a cloud's name for its metadata service, or a name that spells out a
// link-local address for a resolver that makes addresses of names. Other names may resolve to such an address too. The
// network decides which addresses a container can reach, and isMetadataName only refuses evident names.
func isMetadataName(host string) bool {
	first, rest, _ := strings.Cut(host, ".")
	if first == "instance-data" || first == "metadata" {
		// EC2 uses instance-data.<region>.compute.internal. Google uses metadata.goog and, through its search domain,
		// plain metadata.
		top := rest[strings.LastIndexByte(rest, '.')+1:]
		if top == "" || top == "internal" || top == "goog" {
			return true
		}
	}
	return slices.ContainsFunc(spelledAddrs(host), netip.Addr.IsLinkLocalUnicast)
}

// spelledAddrs returns the IPv4 addresses that host contains as four numbers between dots or dashes, as in
// ip-10-0-0-1.ec2.internal and 10.0.0.1.nip.io.
func spelledAddrs(host string) (addrs []netip.Addr) {
	parts := strings.FieldsFunc(host, func(r rune) bool { return r == '.' || r == '-' })
	for i := 0; i+4 <= len(parts); i++ {
		if addr, err := netip.ParseAddr(strings.Join(parts[i:i+4], ".")); err == nil {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
