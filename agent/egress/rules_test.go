package egress_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-go/berth/agent/egress"
)

// TestRulesAgreeWithCheck compares the two forms of a policy for addresses at and around the borders of all its ranges.
func TestRulesAgreeWithCheck(t *testing.T) {
	for _, allow := range [][]string{
		nil, {"10.1.0.0/16", "127.0.0.1"}, {"0.0.0.0/0", "::/0"}, {"10.0.0.0/8", "169.254.169.254", "fd00::/8", "::1"}, {"64:ff9b::/96", "2001:2::/48"},
		{"64:ff9b::a00:0/104", "192.168.0.0/16"},
	} {
		p, err := egress.Parse(egress.Open, allow)
		if err != nil {
			t.Fatal(err)
		}
		rules := p.Rules(nil)
		var addrs []netip.Addr
		for _, r := range rules {
			addrs = append(addrs, r.Net.Addr(), r.Net.Addr().Prev(), last(r.Net), last(r.Net).Next())
		}
		for range 2000 {
			addrs = append(addrs, netip.AddrFrom4([4]byte{byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32()), 1}))
		}
		for _, addr := range addrs {
			if !addr.IsValid() || addr.Is4In6() {
				continue // the kernel sends those as IPv4
			}
			accept := true
			if i := slices.IndexFunc(rules, func(r egress.Rule) bool { return r.Net.Contains(addr) }); i >= 0 {
				accept = rules[i].Accept
			}
			if err := p.Check(addr); accept != (err == nil) {
				t.Errorf("%v: the rules say %v of %v, Check says %v", allow, accept, addr, err)
			}
		}
	}
}

func last(net netip.Prefix) netip.Addr {
	b := net.Addr().AsSlice()
	for i := net.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

func TestRulesOfMoreNets(t *testing.T) {
	host, subnet := netip.MustParsePrefix("172.17.0.1/32"), netip.MustParsePrefix("172.18.0.0/16")
	verdict := func(allow []string, addr string) bool {
		p, err := egress.Parse(egress.Open, allow)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Rules([]netip.Prefix{host, subnet, netip.MustParsePrefix("52.1.2.3/32")}) {
			if r.Net.Contains(netip.MustParseAddr(addr)) {
				return r.Accept
			}
		}
		return p.Default()
	}
	for _, c := range []struct {
		allow []string
		addr  string
		want  bool
	}{
		{nil, "52.1.2.3", false}, {nil, "52.1.2.4", true}, {nil, "64:ff9b::52.1.2.3", false},
		{[]string{"172.16.0.0/12"}, "172.17.0.1", false}, {[]string{"172.16.0.0/12"}, "172.17.0.2", true},
		{[]string{"172.16.0.0/12"}, "172.18.0.5", false}, {[]string{"172.18.0.0/16"}, "172.18.0.5", true},
		{[]string{"172.17.0.1"}, "172.17.0.1", true}, {[]string{"52.1.2.3"}, "52.1.2.3", true},
	} {
		if got := verdict(c.allow, c.addr); got != c.want {
			t.Errorf("%v: %s: %v", c.allow, c.addr, got)
		}
	}
}
