package warden

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// The network of the machine, as its first process has it: the warden sees the machine's processes.
const (
	hostNetwork = "/proc/1/net/dev"
	hostRoutes  = "/proc/1/net/fib_trie"
	hostIPv6    = "/proc/1/net/if_inet6"
)

// hostAddresses returns the addresses at which the machine itself answers, on all interfaces, apart from its loopback. It leaves
// out those of IPv6 that are link-local: every interface has one.
func hostAddresses() (addrs []netip.Prefix, err error) {
	routes, err := os.ReadFile(hostRoutes)
	if err != nil {
		return nil, fmt.Errorf("the machine's addresses: %w", err)
	}
	six, err := os.ReadFile(hostIPv6)
	if err != nil && !os.IsNotExist(err) { // a kernel may lack IPv6
		return nil, fmt.Errorf("the machine's addresses: %w", err)
	}
	addrs = append(localRoutes(string(routes)), interfaces6(string(six))...)
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s and %s have no address of the machine", hostRoutes, hostIPv6)
	}
	return addrs, nil
}

// localRoutes returns the addresses of a file like fib_trie that are the machine's own. A line "|-- ADDRESS" precedes those
// that say of which routes it is the address, such as "/32 host LOCAL".
func localRoutes(text string) (addrs []netip.Prefix) {
	var addr netip.Addr
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "|--":
			addr, _ = netip.ParseAddr(fields[1])
		case len(fields) >= 3 && fields[1] == "host" && fields[2] == "LOCAL" && addr.IsValid() && !addr.IsLoopback():
			if bits, err := strconv.Atoi(strings.TrimPrefix(fields[0], "/")); err == nil {
				addrs = append(addrs, netip.PrefixFrom(addr, bits).Masked())
			}
		}
	}
	return addrs
}

// interfaces6 returns the addresses of a file like if_inet6, which begins each line with one in hexadecimal digits.
func interfaces6(text string) (addrs []netip.Prefix) {
	for line := range strings.Lines(text) {
		digits, _, _ := strings.Cut(line, " ")
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) != 16 {
			continue
		}
		addr := netip.AddrFrom16([16]byte(b))
		if !addr.IsLoopback() && !addr.IsLinkLocalUnicast() {
			addrs = append(addrs, netip.PrefixFrom(addr, 128))
		}
	}
	return addrs
}
