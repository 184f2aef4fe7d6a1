package naming

import (
	"net/netip"
	"slices"
	"strings"
)

// isServicePort reports whether port is one at which git servers are, and so
// hardly a password.
func isServicePort(port string) bool {
	for _, usual := range defaultPorts {
		if port == usual {
			return true
		}
	}
	return slices.Contains(otherPorts, port)
}

// otherPorts are those of proxies, of Gitea, of Bitbucket Server and of Gerrit.
var otherPorts = []string{"8080", "8443", "3000", "7999", "29418"}

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// Last parts of host names. The first are hardly in use for people; the second
// may well end a user's name (jane.dev), as may the two letters of a country.
var (
	plainHostEnds = []string{"com", "org", "net", "edu", "gov", "example"}
	otherHostEnds = []string{"info", "biz", "dev", "app", "cloud", "tech", "xyz", "internal", "intranet", "corp", "home", "lan", "local", "localdomain", "private", "test", "invalid"}
)

// gitHostStarts are first parts of the names of hosts that serve git.
var gitHostStarts = []string{"git", "gitlab", "gitea", "github", "bitbucket", "code", "source", "ssh", "scm", "www"}

// isHostLike reports whether name is rather a host than a user. withPort says
// that the number of a port may follow it, which leaves less room for doubt.
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
	// The two letters of a country may as well end a person's name, as in wei.li.xu.
	return len(last) == 2 && !isDigits(last) && (withPort || slices.Contains(gitHostStarts, labels[0]))
}
