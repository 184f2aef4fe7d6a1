package naming

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// MaxRemoteLen is the largest length in bytes of a remote and of its URL. The bound of an identity is [MaxIdentityLen].
const MaxRemoteLen = 2048

// Remote is a parsed remote: the URL to fetch, and the identity of its repository.
//
// The credential is kept apart from the URL so that git need not get it as an argument, which every process of the
// machine could read. No method of Remote shows it, and neither do fmt, slog and encoding/json. But fmt prints the
// fields of a Remote in an unexported field of another struct, so do not print such a struct.
type Remote struct {
	// Repository is the identity.
	Repository Repository

	// URL is the argument for git: a URL, or user@host:path if the remote was
	// written in that form. It holds no password, query or fragment. Path and
	// percent-encoding are as the caller spelled them.
	URL string

	// Username and Password are the decoded userinfo of an http or https remote. A user without a password is taken for
	// a token, because https://TOKEN@github.com/owner/name is a common form. Both are empty for other transports: the
	// user of ssh stays in URL, and git:// has no users.
	Username, Password string
}

// ParseRemote reads a remote as git would, but accepts only the forms that name a repository on another machine:
//
//	https://host[:port]/path    also http, git and ssh, and with git+ before any of them
//	[user@]host:path            the scp-like form of ssh
//
// It refuses local paths, file: and other transports, remote helpers (anything::address), forge shorthand (owner/name,
// github:owner/name), links to pages that browsers show, hosts that are link-local or otherwise no place for a
// repository, and text that git, ssh or a shell could misread. Blanks around the remote are ignored. The error wraps
// [ErrInvalid] and contains no part of the remote.
func ParseRemote(remote string) (Remote, error) {
	r, err := parseRemote(remote)
	if err != nil && mayHoldOpenPassword(remote) {
		err = fmt.Errorf("%w; if its user or password holds '/', '#' or '?', write these as %%2F, %%23 and %%3F", err)
	}
	return r, err
}

// mayHoldOpenPassword reports whether an '@' follows a character that ends the host. A password with such a character
// looks like that.
func mayHoldOpenPassword(remote string) bool {
	if _, rest, ok := strings.Cut(remote, "://"); ok {
		remote = rest
	}
	end := strings.IndexAny(remote, "/?#")
	return end >= 0 && strings.Contains(remote[end:], "@")
}

func parseRemote(remote string) (Remote, error) {
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
		// The '?' or '#' more likely belongs to a password than to the name of a branch. The text that was taken for
		// host and path is then the beginning of the password.
		return Remote{}, badRemote("an '@' follows its '?' or '#'; one of them seems to belong to a password")
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

// HasCredential reports whether the remote had a username or a password.
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
