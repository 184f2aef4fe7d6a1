package hostboot

import "net/netip"

// AddressPools returns the networks that addressPools chooses.
func AddressPools(avoid ...netip.Prefix) (bases []netip.Prefix) {
	for _, p := range addressPools(avoid) {
		bases = append(bases, p.Base)
	}
	return bases
}

// Usable is usable.
var Usable = usable
