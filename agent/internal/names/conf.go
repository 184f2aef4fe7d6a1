package names

import (
	"net/netip"
	"os"
	"strings"
)

// was begins the comment that keeps the servers of a file that was changed.
const was = "# berth asks "

// TakeOver makes a file like /etc/resolv.conf name one server, own, and returns the servers that it named before. It may be
// called again with the file that it has written.
func TakeOver(file string, own netip.Addr) (upstream []netip.AddrPort, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var servers, rest []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if before, ok := strings.CutPrefix(line, was); ok {
			servers = append(servers, strings.Fields(before)...)
		} else if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" {
			servers = append(servers, fields[1])
		} else {
			rest = append(rest, line)
		}
	}
	for _, server := range servers {
		if addr, err := netip.ParseAddr(server); err == nil && addr != own {
			upstream = append(upstream, netip.AddrPortFrom(addr, 53))
		}
	}
	var b strings.Builder
	b.WriteString(was)
	for _, server := range upstream {
		b.WriteString(server.Addr().String() + " ")
	}
	b.WriteString("\nnameserver " + own.String() + "\n" + strings.Join(rest, "\n") + "\n")
	// The file is a mount, so that it cannot be replaced.
	return upstream, os.WriteFile(file, []byte(b.String()), 0o644)
}
