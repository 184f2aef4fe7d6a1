package hostboot

import "net/netip"

// AddressPools are the networks that addressPools chooses.
func AddressPools(avoid ...netip.Prefix) (bases []netip.Prefix, err error) {
	pools, err := addressPools(avoid)
	for _, p := range pools {
		bases = append(bases, p.Base)
	}
	return bases, err
}
