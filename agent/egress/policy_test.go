package egress_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-go/berth/agent/egress"
)

func TestCheck(t *testing.T) {
	refused := map[string][]string{
		"loopback":                       {"127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1"},
		"private":                        {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1", "fec0::1", "64:ff9b::10.0.0.1", "2002:0a00:0001::1"},
		"link-local":                     {"169.254.1.1", "fe80::1", "fe80::1%eth0", "64:ff9b::169.254.1.1"},
		"carrier-grade NAT":              {"100.64.0.1", "100.127.255.255"},
		"a cloud's metadata service":     {"169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::ffff:169.254.169.254"},
		"unspecified or of this network": {"0.0.0.0", "0.1.2.3", "::"},
		"multicast":                      {"224.0.0.1", "239.1.1.1", "ff02::1"},
		"broadcast":                      {"255.255.255.255"},
		"reserved":                       {"192.0.0.8", "192.88.99.1", "240.0.0.1", "100::1", "5f00::1", "2001:1ff::1"},
		"for benchmarks":                 {"198.18.0.1", "198.19.255.255", "2001:2::1"},
		"for documentation":              {"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"},
		"Teredo":                         {"2001:0:4136:e378:8000:63bf:3fff:fdd2"},
		"IPv4-compatible":                {"::10.0.0.1", "::8.8.8.8"},
		"IPv4-translated":                {"::ffff:0:10.0.0.1"},
		"NAT64 of a network's own":       {"64:ff9b:1::10.0.0.1", "64:ff9b:1::8.8.8.8"},
	}
	for why, addrs := range refused {
		for _, addr := range addrs {
			err := egress.Policy{}.Check(netip.MustParseAddr(addr))
			if r, ok := errors.AsType[*egress.Refused](err); !ok || r.Why != why {
				t.Errorf("%s: %v, want %s", addr, err, why)
			}
		}
	}
	for _, addr := range []string{
		"8.8.8.8", "140.82.121.3", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "11.0.0.1", "192.0.1.1",
		"2606:50c0:8000::153", "64:ff9b::140.82.121.3", "2002:8c52:7903::1", "::ffff:140.82.121.3", "223.255.255.255",
	} {
		if err := (egress.Policy{}).Check(netip.MustParseAddr(addr)); err != nil {
			t.Error(err)
		}
	}
	if (egress.Policy{}).Check(netip.Addr{}) == nil {
		t.Error("no address is allowed")
	}
}

func TestExceptions(t *testing.T) {
	for _, c := range []struct {
		allow   []string
		yes, no []string
		mode    egress.Mode
	}{
		{allow: []string{"10.1.0.0/16"}, yes: []string{"10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"}, no: []string{"10.2.0.1", "127.0.0.1"}},
		{allow: []string{"10.0.0.0/8", "127.0.0.1"}, yes: []string{"10.2.0.1", "127.0.0.1"}, no: []string{"127.0.0.2", "::1"}},
		{allow: []string{"169.254.0.0/16"}, yes: []string{"169.254.1.1"}, no: []string{"169.254.169.254"}},
		{allow: []string{"169.254.169.254"}, yes: []string{"169.254.169.254"}, no: []string{"169.254.1.1"}},
		{allow: []string{"0.0.0.0/0", "::/0"}, mode: egress.AllowList, yes: []string{"8.8.8.8"}, no: []string{"10.0.0.1", "127.0.0.1", "fd00::1", "::1", "64:ff9b::10.0.0.1"}},
		{allow: []string{"64:ff9b::/96"}, yes: []string{"64:ff9b::8.8.8.8"}, no: []string{"64:ff9b::10.0.0.1"}},
		{allow: []string{"fd00::/8"}, yes: []string{"fd12::1"}, no: []string{"fd00:ec2::254"}},
		{allow: []string{"::1"}, yes: []string{"::1"}, no: []string{"127.0.0.1", "::"}},
		{allow: []string{"2001:2::/48"}, yes: []string{"2001:2::1"}, no: []string{"2001:3::1"}},
	} {
		p, err := egress.Parse(c.mode, c.allow)
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range c.yes {
			if err := p.Check(netip.MustParseAddr(addr)); err != nil {
				t.Errorf("%v: %v", c.allow, err)
			}
		}
		for _, addr := range c.no {
			if p.Check(netip.MustParseAddr(addr)) == nil {
				t.Errorf("%v allows %s", c.allow, addr)
			}
		}
	}
}

// TestRemotes holds that fetches may connect to more than sessions, in every mode.
func TestRemotes(t *testing.T) {
	for _, mode := range []egress.Mode{"", egress.Open, egress.None, egress.AllowList} {
		p, err := egress.Parse(mode, nil, "10.1.0.0/16", "127.0.0.1", "Git.corp.example", "*.git.example")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			host, addr string
			want       bool
		}{
			{"x.example", "10.1.2.3", true}, {"x.example", "10.2.0.1", false}, {"127.0.0.1", "127.0.0.1", true}, {"x.example", "127.0.0.2", false},
			{"git.corp.example", "10.2.0.1", true}, {"GIT.corp.example.", "fd12::1", true}, {"a.git.example", "100.64.0.1", true},
			{"x.git.corp.example", "10.2.0.1", false}, {"git.example", "10.2.0.1", false},
			{"git.corp.example", "127.0.0.2", false}, {"git.corp.example", "169.254.169.254", false}, {"git.corp.example", "100.100.100.200", false},
			{"git.corp.example", "fd00:ec2::254", false}, {"git.corp.example", "169.254.1.1", false}, {"x.example", "8.8.8.8", true},
		} {
			addr := netip.MustParseAddr(c.addr)
			if err := p.CheckRemote(c.host, addr); (err == nil) != c.want {
				t.Errorf("%s: a fetch from %s at %s: %v", mode, c.host, c.addr, err)
			}
			if c.addr != "8.8.8.8" && p.Check(addr) == nil {
				t.Errorf("%s: a session may connect to %s", mode, c.addr)
			}
		}
		for _, r := range p.Rules(nil) {
			if r.Accept {
				t.Errorf("%s: the walls let sessions connect to %v", mode, r.Net)
			}
		}
	}
	for _, remotes := range [][]string{{"10.0.0.1", "127.1"}, {"x.org", "https://x.org"}, {"10.0.0.0/8", "10.0.0.1/8"}} {
		_, err := egress.Parse(egress.None, nil, remotes...)
		if fault, ok := errors.AsType[*egress.ItemError](err); !ok || !fault.Remote || fault.Index != 1 {
			t.Errorf("%q: %v", remotes, err)
		}
	}
}

// TestEverySpecialRange holds that an exception for a range lifts exactly that one.
func TestEverySpecialRange(t *testing.T) {
	for _, net := range egress.Specials() {
		if (egress.Policy{}).Check(net.Addr()) == nil {
			t.Errorf("%v is not refused", net)
		}
		if p := (egress.Policy{Nets: []netip.Prefix{netip.PrefixFrom(net.Addr(), net.Addr().BitLen())}}); p.Check(net.Addr()) != nil {
			t.Errorf("the exception of %v itself does not hold", net.Addr())
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		mode  egress.Mode
		allow []string
		at    int // of the fault; -2 = none
	}{
		{"", nil, -2},
		{"", []string{"10.0.0.0/8", "fd00::/8", "10.0.0.1"}, -2},
		{egress.Open, []string{"git.corp.example"}, 0},
		{egress.None, nil, -2},
		{egress.None, []string{"10.0.0.1"}, 0},
		{"closed", nil, -1},
		{egress.AllowList, nil, -2},
		{egress.AllowList, []string{"10.0.0.1", "Proxy.Golang.org", "*.npmjs.org", "localhost"}, -2},
		{egress.AllowList, []string{"10.0.0.1/8"}, 0},
		{egress.AllowList, []string{"::ffff:10.0.0.0/104"}, 0},
		{egress.AllowList, []string{"fe80::1%eth0"}, 0},
		{egress.AllowList, []string{"10.0.0.0/33"}, 0},
		{egress.AllowList, []string{"ok.org", ""}, 1},
		{egress.AllowList, []string{"*"}, 0},
		{egress.AllowList, []string{"a.*.org"}, 0},
		{egress.AllowList, []string{"https://x.org"}, 0},
		{egress.AllowList, []string{"x.org:443"}, 0},
		{egress.AllowList, []string{"127.1"}, 0},
		{egress.AllowList, []string{"0x7f.1"}, 0},
		{egress.AllowList, []string{"2130706433"}, 0},
		{egress.AllowList, []string{"-x.org"}, 0},
		{egress.AllowList, []string{"x.org."}, 0},
	} {
		_, err := egress.Parse(c.mode, c.allow)
		fault, ok := errors.AsType[*egress.ItemError](err)
		if c.at == -2 && err != nil || c.at != -2 && (!ok || fault.Index != c.at) {
			t.Errorf("%q %q: %v", c.mode, c.allow, err)
		}
	}
	p, _ := egress.Parse(egress.AllowList, []string{"Git.Example.org", "*.npm.org", "10.0.0.1"})
	for host, want := range map[string]bool{
		"git.example.org": true, "GIT.example.org.": true, "x.git.example.org": false, "a.npm.org": true, "a.b.npm.org": true,
		"npm.org": false, "xnpm.org": false, "10.0.0.1": false,
	} {
		if p.Allows(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
	if !slices.Contains(p.Nets, netip.MustParsePrefix("10.0.0.1/32")) {
		t.Error(p.Nets)
	}
}

func TestNumeric(t *testing.T) {
	for host, want := range map[string]bool{
		"127.1": true, "0x7f.1": true, "0x7f000001": true, "2130706433": true, "0177.0.0.1": true, "127.0.0.1.": true, "1.2.3.0x4": true,
		"": true, "x.": false, "x.org": false, "1.2.3.4.nip.io": false, "x.0xyz": false, "a1": false, "0xcafe.org": false,
	} {
		if egress.Numeric(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
