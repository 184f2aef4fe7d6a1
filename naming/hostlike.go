package naming

import (
	"net/netip"
	"slices"
	"strings"
)

// isServicePort reports whether git servers use port, so that it is hardly a password.
func isServicePort(port string) bool {
	for _, usual := range defaultPorts {
		if port == usual {
			return true
		}
	}
	return slices.Contains(otherPorts, port)
}

// otherPorts are the ports of proxies, Gitea, Bitbucket Server and Gerrit.
var otherPorts = []string{"8080", "8443", "3000", "7999", "29418"}

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// Last parts of host names. The names of people hardly ever end in the first ones. They may end in the second ones
// (jane.dev), and in the two letters of a country.
var (
	plainHostEnds = []string{"com", "org", "net", "edu", "gov", "example"}
	otherHostEnds = []string{"info", "biz", "dev", "app", "cloud", "tech", "xyz", "internal", "intranet", "corp", "home", "lan", "local", "localdomain", "private", "test", "invalid"}
)

// gitHostStarts are the first parts of names of hosts that serve git.
var gitHostStarts = []string{"git", "gitlab", "gitea", "github", "bitbucket", "code", "source", "ssh", "scm", "www"}

// isHostLike reports whether name looks more like a host than like a user. withPort says that a port number may follow
// it, which makes a host more likely.
func isHostLike(name string, withPort bool) bool {
	if isAddress(name) || name == "localhost" {
		return true
	}
	labels := strings.Split(name, ".")
	last := labels[len(labels)-1]
	switch {
	case len(labels) < 2 || slices.Contains(labels, ""):
		return false
	case slices.Contains(plainHostEnds, last):
		return true
	case len(labels) == 2 && !withPort:
		return false
	}
	if slices.Contains(otherHostEnds, last) {
		return true
	}
	// The name of a person may also end in the two letters of a country, as in wei.li.xu.
	return len(last) == 2 && !isDigits(last) && (withPort || slices.Contains(gitHostStarts, labels[0]))
}
