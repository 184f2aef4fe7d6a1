package naming

import "strings"

// MaxIdentityLen is the length in bytes that an identity may have, with host and
// path. Records are found by it, and databases limit what they index.
const MaxIdentityLen = 1024

// Repository is the identity of a git repository, whatever the spelling of its
// remote. It is comparable, so it can be a map key, and holds no credential.
//
// Make one with [ParseRepository]. The zero Repository is no repository.
type Repository struct {
	Host string // lower case, "[...]" around IPv6, ":port" if that is not the transport's default
	Path string // decoded elements joined by "/", without a leading slash and without ".git"
}

// ParseRepository returns the identity of the repository that remote names. It
// accepts and refuses the same as [ParseRemote]. Its errors wrap [ErrInvalid].
// String of what it returns has at most [MaxIdentityLen] bytes.
func ParseRepository(remote string) (Repository, error) {
	r, err := ParseRemote(remote)
	return r.Repository, err
}

// String returns the canonical text, such as "github.com/anthropic/claude-code".
// It is not a remote: the path is decoded, and Azure DevOps would not know it.
// The zero Repository gives "".
func (r Repository) String() string {
	if r.IsZero() {
		return ""
	}
	return r.Host + "/" + r.Path
}

// Owner returns all but the last element of Path: "group/subgroup" of
// gitlab.com/group/subgroup/project. It is empty where Path has one element.
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

// UnmarshalText implements [encoding.TextUnmarshaler]. It is the inverse of
// MarshalText and takes canonical text only: a remote, or an identity that
// ParseRepository would have spelled otherwise, is refused with [ErrInvalid]
// and leaves r as it was. Empty text gives the zero Repository.
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

// parseIdentity is the inverse of String. It changes nothing: what is not
// canonical is refused, so that stored identities compare as they were made.
func parseIdentity(text string) (Repository, error) {
	if !isCanonical(text) {
		return Repository{}, invalid("repository", "it must be host/owner/name in canonical form, as ParseRepository returns it")
	}
	host, path, _ := strings.Cut(text, "/")
	return Repository{Host: host, Path: path}, nil
}

func isCanonical(text string) bool {
	host, path, _ := strings.Cut(text, "/")
	elems := strings.Split(path, "/")
	if len(text) > MaxIdentityLen || !isCanonicalAuthority(host) {
		return false
	}
	f := forgeOf(host)
	return f.check(elems) == nil && (f == nil || !f.foldCase || path == lowerASCII(path))
}
