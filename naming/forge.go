package naming

import "strings"

// forge is what is known of a public git host beyond its name.
type forge struct {
	minElems    int
	maxElems    int    // 0 = no limit
	foldCase    bool   // it ignores the case of paths
	alsoInNames string // characters that may stand there, and nowhere else: see isBadInPath
}

// forges is keyed by the canonical host. A forge that is not here works like
// any other git server; being here refuses more, and folds more.
var forges = map[string]forge{
	"github.com":      {minElems: 2, maxElems: 2, foldCase: true},
	"gitlab.com":      {minElems: 2, foldCase: true},
	"bitbucket.org":   {minElems: 2, maxElems: 2, foldCase: true},
	"codeberg.org":    {minElems: 2, maxElems: 2},
	"git.sr.ht":       {minElems: 2, maxElems: 2},
	"gist.github.com": {minElems: 1, maxElems: 2},
	azureHost:         {minElems: 3, maxElems: 3, alsoInNames: "&()"},
}

// forgeOf returns nil for a host that is no known forge.
func forgeOf(host string) *forge {
	if f, ok := forges[host]; ok {
		return &f
	}
	return nil
}

// check says what is wrong with the elements of a path. f may be nil.
func (f *forge) check(elems []string) error {
	if f == nil {
		return checkElements(elems, "")
	}
	if err := checkElements(elems, f.alsoInNames); err != nil {
		return err
	}
	if len(elems) < f.minElems {
		return badRemote("this forge needs owner/name")
	}
	if f.maxElems > 0 && len(elems) > f.maxElems {
		return badRemote("its path is longer than owner/name; give the address to clone, not that of a page")
	}
	return nil
}

// httpsPortHosts are other names of a forge at which it serves ssh on port 443,
// for networks that block port 22.
var httpsPortHosts = map[string]string{
	"ssh.github.com":       "github.com",
	"altssh.gitlab.com":    "gitlab.com",
	"altssh.bitbucket.org": "bitbucket.org",
}

// canonicalName resolves the other names of a forge. port is "" if it is the
// transport's default.
func canonicalName(host, port string) (canonical, canonicalPort string) {
	if name, ok := httpsPortHosts[host]; ok && (port == "" || port == "443") {
		return name, ""
	}
	if name, ok := strings.CutPrefix(host, "www."); ok && port == "" && forgeOf(name) != nil {
		return name, ""
	}
	return host, port
}

// identify says which repository a spelling names.
func identify(s *spelling) (Repository, error) {
	elems, err := s.elements()
	if err != nil {
		return Repository{}, err
	}
	host, port := s.host, s.port
	if port == defaultPorts[s.transport] {
		port = ""
	}
	if isAzure(host) && port == "" {
		host = azureHost
		if elems, err = azureElements(s, elems); err != nil {
			return Repository{}, err
		}
	} else {
		host, port = canonicalName(host, port)
		if s.isHTTP() {
			if isBrowserLink(host, elems) {
				return Repository{}, badRemote("it is the address of a page; give the one to clone")
			}
			elems = dropSCM(host, elems)
		}
	}
	if port != "" {
		host += ":" + port
	}
	f := forgeOf(host)
	path := strings.Join(elems, "/")
	if f != nil && f.foldCase {
		path = lowerASCII(path)
	}
	path = strings.TrimSuffix(path, ".git")
	elems = strings.Split(path, "/")
	if err := f.check(elems); err != nil {
		return Repository{}, err
	}
	r := Repository{Host: host, Path: path}
	if len(r.String()) > MaxIdentityLen {
		return Repository{}, badRemote("its host and path are longer than 1024 bytes")
	}
	return r, nil
}

// dropSCM drops what Bitbucket Server puts before project/repository over http
// but not over ssh. A longer path is no address of Bitbucket Server's.
func dropSCM(host string, elems []string) []string {
	if len(elems) == 3 && elems[0] == "scm" && forgeOf(host) == nil {
		return elems[1:]
	}
	return elems
}

// isCanonicalAuthority reports whether text is what identify makes of some
// host and port.
func isCanonicalAuthority(text string) bool {
	name, port := text, ""
	if inner, after, ok := cutBrackets(text); ok {
		name, port = inner, strings.TrimPrefix(after, ":")
	} else {
		name, port, _ = strings.Cut(text, ":")
	}
	host, err := parseHost(name)
	if err != nil {
		return false
	}
	if port, err = parsePort(port); err != nil {
		return false
	}
	canonical, canonicalPort := canonicalName(host, port)
	if canonicalPort != "" {
		canonical += ":" + canonicalPort
	}
	return canonical == text && (text == azureHost || !isAzure(text))
}
