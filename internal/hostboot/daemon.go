package hostboot

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

const (
	tlsDir = "/etc/berth/tls" // holds the server's certificate and key, and the certificate of the clients' authority

	poolCount = 2  // address pools for networks of containers
	subnet    = 20 // bits of a network's prefix: 4,000 containers in one, 16 networks in a pool
)

// daemonJSON returns Docker's settings. The error joins the errors of the options that it uses.
func daemonJSON(o Options) ([]byte, error) {
	var faults []error
	pools := addressPools(o.AvoidCIDRs)
	if len(pools) == 0 {
		faults = append(faults, o.unfit("AvoidCIDRs", "leave no private addresses for containers, beside the networks of the VPC"))
	}
	settings := map[string]any{
		"live-restore": true,
		"log-driver":   "local",
		"log-opts":     map[string]string{"max-size": "20m", "max-file": "3"},

		"default-address-pools":    pools,
		"default-ulimits":          map[string]any{"nofile": map[string]any{"Name": "nofile", "Soft": 65536, "Hard": 65536}},
		"max-concurrent-downloads": 6,
		"shutdown-timeout":         15, // seconds
	}
	maps.Copy(settings, o.Daemon)
	// Without bip, an engine that has run before keeps its bridge's old addresses, even if they are in none of the
	// pools.
	if len(pools) > 0 && !given(o.Daemon, "default-address-pools", "bip", "bridge") {
		settings["bip"] = netip.PrefixFrom(pools[0].Base.Addr().Next(), subnet).String()
	}
	for name, value := range map[string]any{
		"hosts":     []string{"unix:///var/run/docker.sock", fmt.Sprintf("tcp://0.0.0.0:%d", Port)},
		"tls":       true,
		"tlsverify": true,
		"tlscacert": tlsDir + "/client-ca.pem",
		"tlscert":   tlsDir + "/server.pem",
		"tlskey":    tlsDir + "/server-key.pem",
		"labels":    []string{"berth.launch=" + o.LaunchID, "berth.pool=" + o.Pool},
	} {
		if _, given := settings[name]; given {
			faults = append(faults, o.unfit("Daemon", "sets %q, which is reserved", name))
		}
		settings[name] = value
	}
	text, err := json.MarshalIndent(settings, "", " ")
	if err != nil {
		faults = append(faults, o.unfit("Daemon", "cannot be written as JSON: %v", err))
	}
	return append(text, '\n'), errors.Join(faults...)
}

// given reports whether settings have any of some names.
func given(settings map[string]any, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { _, ok := settings[name]; return ok })
}

type addressPool struct {
	Base netip.Prefix `json:"base"`
	Size int          `json:"size"`
}

// addressPools returns private networks with prefixes of 16 bits that overlap none of avoid. There may be none.
func addressPools(avoid []netip.Prefix) (pools []addressPool) {
	try := func(a, b byte) {
		base := netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b}), 16)
		taken := slices.ContainsFunc(avoid, func(p netip.Prefix) bool { return p.Overlaps(base) })
		if !taken && len(pools) < poolCount {
			pools = append(pools, addressPool{base, subnet})
		}
	}
	for b := byte(17); b < 32; b++ {
		try(172, b)
	}
	try(172, 16)
	try(192, 168)
	for b := 255; b >= 0; b-- { // from the end: many networks begin at 10.0
		try(10, byte(b))
	}
	return pools
}
