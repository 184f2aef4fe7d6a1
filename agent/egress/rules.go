package egress

import (
	"cmp"
	"net/netip"
	"slices"
)

// A Rule is the verdict on the addresses of a prefix.
type Rule struct {
	Net    netip.Prefix
	Accept bool
}

// Rules returns a policy as a list, for a packet filter: the first rule whose prefix has an address decides on it, and
// Default decides on all others. deny holds more prefixes to refuse, under the same terms as the special ranges: an exception
// must be as narrow.
func (p Policy) Rules(deny []netip.Prefix) (rules []Rule) {
	add := func(net netip.Prefix, accept bool) {
		for _, net := range spellings(net.Masked()) {
			rules = append(rules, Rule{net, accept})
		}
	}
	for _, net := range p.Nets {
		add(net, true)
	}
	for _, s := range specials {
		rules = append(rules, Rule{s.prefix, false})
	}
	for _, net := range deny {
		add(net, false)
	}
	slices.SortStableFunc(rules, func(a, b Rule) int { return cmp.Compare(b.Net.Bits(), a.Net.Bits()) })
	return slices.Compact(rules)
}

// Default reports whether sessions may connect to an address for which there is no rule.
func (p Policy) Default() bool { return p.Mode == Open || p.Mode == "" }
