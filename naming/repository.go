package naming

import "strings"

// MaxIdentityLen is the largest length in bytes of an identity, with host and path. Records are indexed by it, and
// databases limit the size of an index entry.
const MaxIdentityLen = 1024

// Repository is the identity of a git repository. All spellings of a remote have the same identity. It is comparable,
// so it can be a map key, and holds no credential.
//
// Make one with [ParseRepository]. The zero Repository is no repository.
type Repository struct {
	Host string // lower case, "[...]" around IPv6, ":port" if that is not the transport's default
	Path string // decoded elements joined by "/", without a leading slash and without ".git"
	// Login is the ssh login in whose home directory Path begins. It is empty if the path names the same repository for
	// every login.
	Login string
}

// ParseRepository returns the identity of the repository that remote names. It accepts the same remotes as
// [ParseRemote]. Its errors wrap [ErrInvalid]. The String of the result has at most [MaxIdentityLen] bytes.
func ParseRepository(remote string) (Repository, error) {
	r, err := ParseRemote(remote)
	return r.Repository, err
}

// String returns the canonical text, such as "github.com/anthropic/claude-code", or "alice@host.example/tools" for a
// path that begins in alice's home. It is not a remote: the path is decoded, and Azure DevOps would not accept it. The
// zero Repository gives "".
func (r Repository) String() string {
	if r.IsZero() {
		return ""
	}
	text := r.Host + "/" + r.Path
	if r.Login != "" {
		text = r.Login + "@" + text
	}
	return text
}

// Owner returns all but the last element of Path: "group/subgroup" of gitlab.com/group/subgroup/project. It is empty if
// Path has one element.
func (r Repository) Owner() string {
	i := strings.LastIndexByte(r.Path, '/')
	return r.Path[:max(i, 0)]
}

// Name returns the last element of Path.
func (r Repository) Name() string {
	return r.Path[strings.LastIndexByte(r.Path, '/')+1:]
}

// IsZero reports whether r is the zero Repository.
func (r Repository) IsZero() bool {
	return r == Repository{}
}

// MarshalText implements [encoding.TextMarshaler] with [Repository.String], so
// that a Repository is one string in JSON. It never fails.
func (r Repository) MarshalText() ([]byte, error) {
	return []byte(r.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]. It is the inverse of MarshalText and accepts only canonical
// text. For a remote, or an identity that ParseRepository would spell differently, it returns [ErrInvalid] and leaves r
// unchanged. Empty text gives the zero Repository.
func (r *Repository) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Repository{}
		return nil
	}
	got, err := parseIdentity(string(text))
	if err != nil {
		return err
	}
	*r = got
	return nil
}

// parseIdentity is the inverse of String. It refuses text that is not canonical, so that stored identities compare like
// new ones.
func parseIdentity(text string) (Repository, error) {
	if !isCanonical(text) {
		return Repository{}, invalid("repository", "it must be host/owner/name in canonical form, as ParseRepository returns it")
	}
	return cutIdentity(text), nil
}

// cutIdentity splits canonical text. A login may contain an '@', and a host and a path cannot.
func cutIdentity(text string) Repository {
	authority, path, _ := strings.Cut(text, "/")
	at := strings.LastIndexByte(authority, '@')
	return Repository{Login: authority[:max(at, 0)], Host: authority[at+1:], Path: path}
}

func isCanonical(text string) bool {
	r := cutIdentity(text)
	if len(text) > MaxIdentityLen || r.String() != text || !isCanonicalAuthority(r.Host) {
		return false
	}
	if r.Login != "" && !isCanonicalHome(r) {
		return false
	}
	f := forgeOf(r.Host)
	return f.check(strings.Split(r.Path, "/")) == nil && (f == nil || !f.foldCase || r.Path == lowerASCII(r.Path))
}
