package naming

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
)

// A Scope has the parts of a sharing key beside the repository. A nil part is no part of the key. Sessions share a container
// if their Scopes have the same parts with the same values.
type Scope struct {
	Branch *string
	User   *string
	Tenant *string
	Host   *string // of the host's own function
	Task   *string // set for a session that shares with no other: see Key.Private
}

// maxScope bounds the text of a scope. A longer one is replaced by its hash.
const maxScope = 256

// String returns the text of a scope for a Key. The text of no part can pass for another part, whatever the values are. "" is
// the scope without parts.
func (s Scope) String() string {
	var parts []string
	for _, part := range []struct {
		name  string
		value *string
	}{{taskPart, s.Task}, {"tenant=", s.Tenant}, {"user=", s.User}, {"branch=", s.Branch}, {"host=", s.Host}} {
		if part.value != nil {
			parts = append(parts, part.name+url.QueryEscape(*part.value))
		}
	}
	text := strings.Join(parts, "&")
	if len(text) <= maxScope {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	if s.Task != nil {
		return taskPart + "&sha256=" + hex.EncodeToString(sum[:])
	}
	return "sha256=" + hex.EncodeToString(sum[:])
}

const taskPart = "task=" // begins the scope of a session that shares with no other

// Private reports whether the key belongs to one session alone. Its container has no second session, and its mirror is removed
// with it.
func (k Key) Private() bool { return strings.HasPrefix(k.Scope, taskPart) }
