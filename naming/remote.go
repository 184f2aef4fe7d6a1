package naming

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// MaxRemoteLen is the length in bytes that a remote may have, and the URL that is
// made of it. An identity may have [MaxIdentityLen].
const MaxRemoteLen = 2048

// Remote is a parsed remote: what is fetched, and who it is.
//
// The credential is kept apart from the URL so that it can reach git by another
// way than an argument, which every process of the machine could read. No
// method of Remote shows it, and neither do fmt, slog and encoding/json; but
// fmt prints the fields of a Remote that sits in an unexported field of another
// struct, so do not print such a struct.
type Remote struct {
	// Repository is the identity.
	Repository Repository

	// URL is what git is given: a URL, or user@host:path where that is how the
	// remote was written. It holds no password, query or fragment. Path and
	// percent-encoding are as the caller spelled them.
	URL string

	// Username and Password are the decoded userinfo of an http or https
	// remote. A user without a password is taken for a token, as
	// https://TOKEN@github.com/owner/name is in use. Both are empty for other
	// transports: the user of ssh stays in URL, and git:// knows no users.
	Username, Password string
}

// ParseRemote reads a remote as git would, but accepts only what names a
// repository on another machine:
//
//	https://host[:port]/path    also http, git and ssh, and with git+ before any of them
//	[user@]host:path            the scp-like form of ssh
//
// It refuses local paths, file: and other transports, remote helpers
// (anything::address), forge shorthand (owner/name, github:owner/name), links
// to pages that browsers show, hosts that are link-local or otherwise no place
// for a repository, and text that git, ssh or a shell could misread. Blanks
// around the remote are no part of it. The error wraps [ErrInvalid] and holds
// nothing of the remote.
func ParseRemote(remote string) (Remote, error) {
	text, err := tidy(remote)
	if err != nil {
		return Remote{}, err
	}
	text, tail, err := cutQuery(text)
	if err != nil {
		return Remote{}, err
	}
	s, err := split(text)
	if err != nil {
		return Remote{}, err
	}
	repo, err := identify(s)
	if err != nil {
		return Remote{}, err
	}
	if strings.Contains(tail, "@") && forgeOf(repo.Host) == nil {
		// More likely than a branch of that name: the '?' or '#' belongs to a
		// password, and what was taken for host and path is the start of it.
		return Remote{}, badRemote("an '@' follows its '?' or '#'; encode these characters in a password")
	}
	r := Remote{Repository: repo, URL: s.url()}
	if len(r.URL) > MaxRemoteLen {
		return Remote{}, badRemote("its URL is longer than 2048 bytes, with other scripts percent-encoded")
	}
	if s.isHTTP() {
		r.Username, r.Password = s.user, s.password
	}
	return r, nil
}

// HasCredential reports whether the remote came with a username or a password.
func (r Remote) HasCredential() bool {
	return r.Username != "" || r.Password != ""
}

// String returns the URL. It never shows the credential.
func (r Remote) String() string {
	return r.URL
}

// GoString implements [fmt.GoStringer]. It says whether there is a credential,
// and never shows it.
func (r Remote) GoString() string {
	return fmt.Sprintf("naming.Remote{Repository:%q, URL:%q, HasCredential:%t}", r.Repository.String(), r.URL, r.HasCredential())
}

// Format implements [fmt.Formatter]. Without it the verbs that are not meant
// for text, such as %d, would print the fields.
func (r Remote) Format(f fmt.State, verb rune) {
	text := r.String()
	switch {
	case verb == 'v' && f.Flag('#'):
		text = r.GoString()
	case verb == 'q':
		text = strconv.Quote(text)
	}
	_, _ = f.Write([]byte(text)) // fmt's own writer does not fail
}

// LogValue implements [slog.LogValuer]. It never shows the credential.
func (r Remote) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("repository", r.Repository.String()),
		slog.String("url", r.URL),
		slog.Bool("credential", r.HasCredential()),
	)
}

// MarshalText implements [encoding.TextMarshaler] with [Remote.String], so that
// JSON holds the URL and never the credential. It never fails.
func (r Remote) MarshalText() ([]byte, error) {
	return []byte(r.String()), nil
}
