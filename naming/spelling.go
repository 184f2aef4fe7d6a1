package naming

import "strings"

// spelling has the parts of a remote, before its identity is determined.
type spelling struct {
	transport string // https, http, ssh or git
	scp       bool   // written as [user@]host:path; transport is ssh
	user      string // decoded
	password  string // decoded
	host      string // canonical: see parseHost
	port      string // decimal without leading zeros; "" if not given
	path      string // as spelled, without a trailing slash; for scp with the leading slash if there is one
}

// transports maps each accepted scheme to the one for git.
var transports = map[string]string{
	"https": "https", "http": "http", "ssh": "ssh", "git": "git",
	"git+https": "https", "git+http": "http", "git+ssh": "ssh", "git+git": "git",
	"ssh+git": "ssh",
}

var defaultPorts = map[string]string{"https": "443", "http": "80", "ssh": "22", "git": "9418"}

func (s *spelling) isHTTP() bool {
	return s.transport == "https" || s.transport == "http"
}

// split splits a remote without query and fragment.
func split(text string) (*spelling, error) {
	// Git runs git-remote-<helper> for "<helper>::<address>" before it looks for
	// anything else.
	if helper, _, ok := strings.Cut(text, "::"); ok && strings.IndexFunc(helper, notSchemeRune) < 0 {
		return nil, badRemote("remote helpers (name::address) are not accepted; use https or ssh")
	}
	if strings.Contains(text, " ") {
		return nil, badRemote("it holds a blank; write %20 in a URL")
	}
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		return splitURL(lowerASCII(scheme), rest)
	}
	return splitSCP(text)
}

func notSchemeRune(r rune) bool {
	return !isAlnum(r) && r != '+' && r != '-' && r != '.'
}

func splitURL(scheme, rest string) (*spelling, error) {
	transport, ok := transports[scheme]
	if !ok {
		return nil, badRemote("its transport is not accepted; use https, http, ssh or git")
	}
	authority, path, ok := strings.Cut(rest, "/")
	path = strings.TrimSuffix(path, "/")
	if !ok || path == "" {
		return nil, badRemote("no path to a repository follows the host")
	}
	s := &spelling{transport: transport, path: path}
	userinfo, hostport := cutUserinfo(authority)
	if err := s.setUserinfo(userinfo); err != nil {
		return nil, err
	}
	return s, s.setHostPort(hostport)
}

// cutUserinfo cuts at the last '@'. A password may contain an '@' that should have been encoded, and a host cannot. Git
// also accepts ssh://[user@host]/path, whose '@' is left for setHostPort.
func cutUserinfo(authority string) (userinfo, hostport string) {
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return "", authority
	}
	if tail := authority[at+1:]; strings.Contains(tail, "]") && tail[0] != '[' {
		return "", authority
	}
	return authority[:at], authority[at+1:]
}

// splitSCP splits [user@]host:path. As in git, a slash before the first colon makes it a local path, and brackets keep
// colons in the host.
func splitSCP(text string) (*spelling, error) {
	s := &spelling{transport: "ssh", scp: true}
	userhost, path, ok := cutSCP(text)
	if !ok || strings.Contains(userhost, "/") {
		return nil, badRemote("it is a local path or shorthand; write a URL with its scheme, or user@host:path")
	}
	if digits, _, ok := strings.Cut(path, ":"); ok && (digits == "" || isDigits(digits)) {
		return nil, badRemote("host:port:path is ambiguous; write ssh://user@host:port/path")
	}
	s.path = strings.TrimSuffix(path, "/")
	if strings.TrimPrefix(s.path, "/") == "" {
		return nil, badRemote("no path to a repository follows the host")
	}
	host := userhost
	// The bracket may stand before or after the user: [user@host] or user@[host].
	if !strings.HasPrefix(userhost, "[") {
		if at := strings.LastIndexByte(userhost, '@'); at >= 0 {
			s.user, host = userhost[:at], userhost[at+1:]
			for strings.HasPrefix(s.user, "git+") { // package managers write git+git@host:path
				s.user = s.user[len("git+"):]
			}
			if s.user == "" {
				return nil, badRemote("no user stands before the '@'")
			}
			if err := checkSSHUser(s.user); err != nil {
				return nil, err
			}
		}
	}
	if err := s.setHostPort(host); err != nil {
		return nil, err
	}
	if s.user == "" && isNoSCPHost(s.host) {
		return nil, badRemote("it reads as a local path or as a forge's shorthand; write a URL with its scheme, or user@host:path")
	}
	return s, nil
}

// cutSCP cuts text at the colon between host and path.
func cutSCP(text string) (userhost, path string, ok bool) {
	from := 0
	if b := strings.IndexByte(text, '['); b == 0 || b > 0 && text[b-1] == '@' && !strings.ContainsAny(text[:b], ":/") {
		from = strings.IndexByte(text, ']')
		if from < 0 || !strings.HasPrefix(text[from+1:], ":") {
			return "", "", false
		}
	}
	colon := strings.IndexByte(text[from:], ':')
	if colon < 0 {
		return "", "", false
	}
	return text[:from+colon], text[from+colon+1:], true
}

// isNoSCPHost reports whether "host:path" without a user usually means something else than ssh: a drive, a file URL, or
// a short form that npm, gh and others expand to a forge's address.
func isNoSCPHost(host string) bool {
	switch host {
	case "file", "github", "gitlab", "bitbucket", "gist", "sourcehut", "gh", "gl", "bb":
		return true
	}
	return len(host) == 1
}

// url returns the remote for git, without credential, query and fragment.
func (s *spelling) url() string {
	host := s.host
	if s.scp {
		user := s.user
		if user != "" {
			user += "@"
		}
		if s.port != "" {
			host = "[" + host + ":" + s.port + "]"
		}
		return user + host + ":" + s.path
	}
	user := ""
	if s.transport == "ssh" && s.user != "" {
		user = strings.ReplaceAll(s.user, "@", "%40") + "@" // checkSSHUser accepts no other character that needs it
	}
	if s.port != "" {
		host += ":" + s.port
	}
	return s.transport + "://" + user + host + "/" + encodeNonASCII(s.path)
}
