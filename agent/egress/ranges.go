package egress

import "net/netip"

// A special range is a prefix whose addresses are refused unless an exception allows them.
type special struct {
	prefix netip.Prefix
	name   string // completes "it is ..."
}

// specials holds the special ranges. An address may be in several of them.
var specials = ranges(map[string][]string{
	"a cloud's metadata service": {
		"169.254.169.254/32", // AWS, Google, Azure, Oracle, DigitalOcean
		"169.254.170.2/32", "169.254.170.23/32",
		"fd00:ec2::254/128", "fd00:ec2::23/128", // AWS, for instances and for tasks
		"100.100.100.200/32",     // Alibaba
		"168.63.129.16/32",       // Azure
		"192.0.0.192/32",         // Oracle
		"fd00:c1::a9fe:a9fe/128", // Oracle
		"fd20:ce::254/128",       // Google
		"fd00:42::42/128",        // Scaleway
	},
	"unspecified or of this network": {"0.0.0.0/8", "::/128"},
	"loopback":                       {"127.0.0.0/8", "::1/128"},
	"private":                        {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"},
	"link-local":                     {"169.254.0.0/16", "fe80::/10"},
	"carrier-grade NAT":              {"100.64.0.0/10"},
	"multicast":                      {"224.0.0.0/4", "ff00::/8"},
	"broadcast":                      {"255.255.255.255/32"},
	"reserved":                       {"192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "100::/64", "100:0:0:1::/64", "2001::/23", "5f00::/16"},
	"for benchmarks":                 {"198.18.0.0/15", "2001:2::/48"},
	"for documentation":              {"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"},
	"Teredo":                         {"2001::/32"},
	"IPv4-compatible":                {"::/96"},
	"IPv4-translated":                {"::ffff:0:0:0/96"},
	"NAT64 of a network's own":       {"64:ff9b:1::/48"},
})

func ranges(byName map[string][]string) (all []special) {
	for name, prefixes := range byName {
		for _, p := range prefixes {
			for _, net := range spellings(netip.MustParsePrefix(p)) {
				all = append(all, special{net, name})
			}
		}
	}
	return all
}

// networks are the special ranges that a name of a remote may resolve to.
var networks = func() (nets []netip.Prefix) {
	for _, s := range specials {
		if s.name == "private" || s.name == "carrier-grade NAT" {
			nets = append(nets, s.prefix)
		}
	}
	return nets
}()

// Specials returns the special ranges. The walls of a network are made of them.
func Specials() (prefixes []netip.Prefix) {
	for _, s := range specials {
		prefixes = append(prefixes, s.prefix)
	}
	return prefixes
}

// embeddings are the globally reachable IPv6 ranges whose addresses stand for an IPv4 address, which begins at a byte.
var embeddings = []struct {
	within netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4
}

// spellings returns a prefix and, if it is one of IPv4, the prefixes of the IPv6 addresses that stand for its addresses.
func spellings(net netip.Prefix) []netip.Prefix {
	all := []netip.Prefix{net}
	if !net.Addr().Is4() {
		return all
	}
	v4 := net.Addr().As4()
	for _, e := range embeddings {
		b := e.within.Addr().As16()
		copy(b[e.at:], v4[:])
		all = append(all, netip.PrefixFrom(netip.AddrFrom16(b), 8*e.at+net.Bits()).Masked())
	}
	return all
}
