package naming

import (
	"net/netip"
	"strings"
)

// setHostPort reads host, host:port or a bracketed form of them.
func (s *spelling) setHostPort(text string) (err error) {
	host, port, _ := strings.Cut(text, ":")
	if inner, after, ok := cutBrackets(text); ok {
		if host, port, err = s.unbracket(inner, after); err != nil {
			return err
		}
	} else if strings.Contains(port, ":") && !s.isHTTP() {
		host, port = text, "" // git accepts an IPv6 address without brackets for ssh and git
	}
	if s.host, err = parseHost(host); err != nil {
		return err
	}
	s.port, err = parsePort(port)
	return err
}

// unbracket reads "[inner]after". In brackets, http and git accept only an IPv6 address. ssh also accepts [host],
// [host:port] and [user@host].
func (s *spelling) unbracket(inner, after string) (host, port string, err error) {
	if after != "" && after[0] != ':' {
		return "", "", badRemote("something other than a port follows the bracketed host")
	}
	host, port = inner, strings.TrimPrefix(after, ":")
	if s.transport != "ssh" {
		if !strings.Contains(host, ":") {
			return "", "", badRemote("only an IPv6 address may stand in brackets")
		}
		return host, port, nil
	}
	if at := strings.LastIndexByte(host, '@'); at > 0 {
		if s.user != "" {
			return "", "", badRemote("it names two users")
		}
		s.user, host = host[:at], host[at+1:]
		if s.scp && strings.HasPrefix(s.user, "git+") {
			return "", "", badRemote("git+ cannot stand within brackets")
		}
		if err := checkSSHUser(s.user); err != nil {
			return "", "", err
		}
	}
	if name, digits, ok := strings.Cut(host, ":"); ok && !strings.Contains(digits, ":") && port == "" {
		return name, digits, nil
	}
	return host, port, nil
}

// cutBrackets cuts "[inner]after".
func cutBrackets(text string) (inner, after string, ok bool) {
	if !strings.HasPrefix(text, "[") {
		return "", "", false
	}
	return strings.Cut(text[1:], "]")
}

// parsePort returns the port without leading zeros, or "" if there is none.
func parsePort(port string) (string, error) {
	if port == "" {
		return "", nil // "host:/path" is legal, and means the default
	}
	trimmed := strings.TrimLeft(port, "0")
	// Strings of digits with equal lengths compare like numbers.
	if !isDigits(port) || trimmed == "" || len(trimmed) > 5 || len(trimmed) == 5 && trimmed > "65535" {
		return "", badRemote("its port must be a number from 1 to 65535")
	}
	return trimmed, nil
}

// parseHost returns the canonical form of a host name or an address. An IPv6 address comes without brackets and is
// returned with them.
func parseHost(host string) (string, error) {
	if host == "" {
		return "", badRemote("it has no host")
	}
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" {
			return "", badRemote("its host is not an IPv6 address; zones are not accepted")
		}
		return addressHost(addr)
	}
	host = lowerASCII(strings.TrimSuffix(host, "."))
	if len(host) > 253 {
		return "", badRemote("its host is longer than 253 bytes")
	}
	for label := range strings.SplitSeq(host, ".") {
		if !isHostLabel(label) {
			return "", badRemote("its host must be of ASCII letters, digits, '-' and '_' between dots, and no part may begin or end with '-'; write other scripts as xn--")
		}
	}
	if isNumeric(host) {
		addr, err := netip.ParseAddr(host)
		if err != nil {
			// getaddrinfo would read this as an address. It would be a second
			// spelling of one, and pass for a name.
			return "", badRemote("an IPv4 address must be written as four decimal numbers")
		}
		return addressHost(addr)
	}
	if isMetadataName(host) {
		return "", errForbiddenHost
	}
	return host, nil
}

func isHostLabel(label string) bool {
	bad := func(r rune) bool { return !isLowerASCII(r) && !isDigit(r) && r != '-' && r != '_' }
	return label != "" && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-' &&
		strings.IndexFunc(label, bad) < 0
}
