package naming

import "strings"

// forge describes a public git host.
type forge struct {
	minElems    int
	maxElems    int    // 0 = no limit
	foldCase    bool   // whether it ignores the case of paths
	alsoInNames string // characters that are allowed in its paths only: see isBadInPath
}

// forges has the known forges by their canonical hosts. A forge that is missing works like any other git server. For a
// known one, more paths are refused, and more spellings have the same identity.
var forges = map[string]forge{
	"github.com":      {minElems: 2, maxElems: 2, foldCase: true},
	"gitlab.com":      {minElems: 2, foldCase: true},
	"bitbucket.org":   {minElems: 2, maxElems: 2, foldCase: true},
	"codeberg.org":    {minElems: 2, maxElems: 2},
	"git.sr.ht":       {minElems: 2, maxElems: 2},
	"gist.github.com": {minElems: 1, maxElems: 2},
	azureHost:         {minElems: 3, maxElems: 3, alsoInNames: "&()"},
}

// forgeOf returns the forge at a host, or nil if the host is no known forge.
func forgeOf(host string) *forge {
	if f, ok := forges[host]; ok {
		return &f
	}
	return nil
}

// check returns an error that says what is wrong with the elements of a path. f may be nil.
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

// httpsPortHosts are the names under which a forge serves ssh on port 443, for networks that block port 22.
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

// identify returns the repository that a spelling names.
func identify(s *spelling) (Repository, error) {
	elems, err := s.elements()
	if err != nil {
		return Repository{}, err
	}
	host, port, login := s.host, s.port, ""
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
		if forgeOf(host) == nil {
			if login, elems, err = homeOf(s, elems); err != nil {
				return Repository{}, err
			}
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
	r := Repository{Host: host, Path: path, Login: login}
	if len(r.String()) > MaxIdentityLen {
		return Repository{}, badRemote("its host and path are longer than 1024 bytes")
	}
	return r, nil
}

// dropSCM drops the element that Bitbucket Server puts before project/repository over http, but not over ssh. Bitbucket
// Server has no longer paths.
func dropSCM(host string, elems []string) []string {
	if len(elems) == 3 && elems[0] == "scm" && forgeOf(host) == nil {
		return elems[1:]
	}
	return elems
}

// isCanonicalAuthority reports whether identify returns text for some host and port.
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
