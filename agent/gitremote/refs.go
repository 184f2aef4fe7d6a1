package gitremote

import "strings"

// Candidates returns the full names that a name may mean. The caller takes the first one that exists. As for git clone
// --branch, a name is a branch, or else a tag. It may also be a full name or a remote-tracking branch; a branch with exactly
// that name takes precedence.
func Candidates(name string) []string {
	refs := []string{"refs/heads/" + name, "refs/tags/" + name}
	for _, other := range []struct{ prefix, stands string }{
		{"refs/heads/", "refs/heads/"}, {"refs/tags/", "refs/tags/"}, {"refs/remotes/origin/", "refs/heads/"},
		{"heads/", "refs/heads/"}, {"tags/", "refs/tags/"}, {"origin/", "refs/heads/"},
	} {
		if short, ok := strings.CutPrefix(name, other.prefix); ok {
			refs = append(refs, other.stands+short)
		}
	}
	return refs
}

// MinAbbreviation is the smallest number of digits by which a name may mean a commit.
const MinAbbreviation = 7

// IsCommit reports whether a name is the full ID of a commit, SHA-1 or SHA-256.
func IsCommit(name string) bool { return (len(name) == 40 || len(name) == 64) && IsAbbreviation(name) }

// IsAbbreviation reports whether a name may be the beginning of a commit's ID, or all of it.
func IsAbbreviation(name string) bool {
	return MinAbbreviation <= len(name) && len(name) <= 64 && strings.Trim(name, "0123456789abcdefABCDEF") == ""
}

// IsBranch reports whether git takes a name for that of a branch. A remote may claim any name for its HEAD, and git does not
// check it everywhere.
func IsBranch(name string) bool {
	if name == "" || len(name) > 4096 || name[0] == '-' || name == "@" || strings.HasSuffix(name, ".") ||
		strings.Contains(name, "..") || strings.Contains(name, "@{") ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }) {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") || len(part) > 255 {
			return false
		}
	}
	return true
}
