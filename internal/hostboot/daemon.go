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
	tlsDir = "/etc/berth/tls" // of the server's certificate and key, and of the clients' authority

	poolCount = 2  // address pools for networks of containers
	subnet    = 20 // bits of a network's prefix: 4,000 containers in one, 16 networks in a pool
)

// daemonJSON makes Docker's settings.
func daemonJSON(o Options) ([]byte, error) {
	pools, err := addressPools(o.AvoidCIDRs)
	if err != nil {
		return nil, err
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
	// Without it, an engine that has run before keeps the bridge's addresses of that time, whatever the pools are.
	if !given(o.Daemon, "default-address-pools", "bip", "bridge") {
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
			return nil, fmt.Errorf("hostboot: Daemon sets %q, which is not free", name)
		}
		settings[name] = value
	}
	text, err := json.MarshalIndent(settings, "", " ")
	if err != nil {
		return nil, fmt.Errorf("hostboot: Daemon: %w", err)
	}
	return append(text, '\n'), nil
}

// given reports whether settings has any of some names.
func given(settings map[string]any, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { _, ok := settings[name]; return ok })
}

type addressPool struct {
	Base netip.Prefix `json:"base"`
	Size int          `json:"size"`
}

// addressPools chooses private networks of 16 bits that overlap none of avoid.
func addressPools(avoid []netip.Prefix) (pools []addressPool, err error) {
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
	if len(pools) == 0 {
		return nil, errors.New("hostboot: AvoidCIDRs leave no private addresses for containers")
	}
	return pools, nil
}
