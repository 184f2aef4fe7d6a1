package naming

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"net/url"
	"strings"
)

// Key decides which container a session joins: sessions with equal keys share a container. It is comparable.
type Key struct {
	Repository Repository
	Scope      string // "" for all sessions of the repository; else a branch, a user, a tenant, as configured
}

const (
	containerPrefix = "repo-"
	maxNameLen      = 63 // bytes: Docker's DNS does not resolve longer names, and hostnames may not be longer
	nameHashLen     = 12 // characters of 5 bits
)

// nameAlphabet leaves out letters that look like digits or like each other.
var nameAlphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// ContainerName returns the name of the key's container in pool, such as
// "repo-anthropic-claude-code-1f3a9c07qzv4".
//
// The name has at most 63 bytes, all of them lower case letters, digits, '.', '_' and '-'. It begins with "repo-", so
// that Docker cannot take it for the hexadecimal ID of another container. The middle is for people, and may be cut or
// replaced. The hash at the end, 60 bits over pool, repository and scope, makes names differ. Equal arguments give
// equal names in every version of this package. Two keys may still have the same name, so a program that finds a
// container by its name must compare the key in its label.
func (k Key) ContainerName(pool string) string {
	var text []byte
	// The length before each field keeps it apart from the next.
	fields := []string{"berth container 1", pool, k.Repository.Host, k.Repository.Path, k.Scope}
	if k.Repository.Login != "" {
		fields = append(fields, k.Repository.Login)
	}
	for _, field := range fields {
		text = binary.AppendUvarint(text, uint64(len(field)))
		text = append(text, field...)
	}
	sum := sha256.Sum256(text)
	hash := nameAlphabet.EncodeToString(sum[:])[:nameHashLen]

	slug := slugify(k.Repository.Path, maxNameLen-len(containerPrefix)-1-nameHashLen)
	if slug == "" {
		return containerPrefix + hash
	}
	return containerPrefix + slug + "-" + hash
}

// slugify returns at most limit bytes of text that reads like path. It keeps the end of a long path, because that holds
// the repository's name.
func slugify(path string, limit int) string {
	var b strings.Builder
	gap := false
	for _, r := range lowerASCII(path) {
		if !isLowerASCII(r) && !isDigit(r) && r != '_' && r != '.' {
			gap = true
			continue
		}
		if gap && b.Len() > 0 {
			b.WriteByte('-')
		}
		gap = false
		b.WriteRune(r)
	}
	slug := b.String()
	slug = slug[max(len(slug)-limit, 0):]
	return strings.Trim(slug, "-._")
}

// String returns canonical text for the key, meant for the container's label: the repository, and "#" with the
// percent-encoded scope if there is one. [ParseKey] is its inverse for every key with a Repository that ParseRepository
// returned.
func (k Key) String() string {
	if k.Scope == "" {
		return k.Repository.String()
	}
	return k.Repository.String() + "#" + url.QueryEscape(k.Scope) // no identity contains a '#'
}

// ParseKey returns the key whose String is text. It refuses every other text
// with an error that wraps [ErrInvalid].
func ParseKey(text string) (Key, error) {
	identity, escaped, _ := strings.Cut(text, "#")
	repo, err := parseIdentity(identity)
	if err != nil {
		return Key{}, err
	}
	scope, err := url.QueryUnescape(escaped)
	k := Key{Repository: repo, Scope: scope}
	if err != nil || k.String() != text {
		return Key{}, invalid("key", "its scope is not in canonical form")
	}
	return k, nil
}
