package naming

import (
	"strings"
	"unicode/utf8"
)

// MaxBranchLen is the largest length of a branch name in bytes. Git itself has no limit, but file systems and forges
// do.
const MaxBranchLen = 1024

// ValidateBranch returns an error that wraps [ErrInvalid] unless name can be the name of a branch. It accepts the names
// that "git check-ref-format --branch" accepts outside a repository, except those that are not UTF-8 or longer than
// [MaxBranchLen], because records could not hold them.
//
// It is a rule for text, and does not say which branch is meant. A commit's ID and "refs/heads/main" are legal branch
// names, and mean something else in a repository without such a branch. Pass a name to git as refs/heads/<name>.
// ValidateBranch refuses "-", "@{-1}" and the like, because git replaces them by another branch. A valid name may
// contain characters that have a meaning in a shell or that change how text is shown, so quote it.
func ValidateBranch(name string) error {
	const what = "branch"
	switch {
	case name == "":
		return invalid(what, "it is empty")
	case len(name) > MaxBranchLen:
		return invalid(what, "it is longer than 1024 bytes")
	case !utf8.ValidString(name):
		return invalid(what, "it is not UTF-8")
	case name[0] == '-':
		return invalid(what, "it begins with '-', which git would take for an option")
	case name == "HEAD":
		return invalid(what, "HEAD is not a branch; leave the branch empty for the default")
	case strings.ContainsFunc(name, isBadInRef):
		return invalid(what, "it holds a blank, a control character or one of ~ ^ : ? * [ \\")
	case strings.Contains(name, ".."), strings.Contains(name, "@{"):
		return invalid(what, "it holds '..' or '@{', which git takes for a revision")
	case strings.HasSuffix(name, "."):
		return invalid(what, "it ends with '.'")
	}
	for elem := range strings.SplitSeq(name, "/") {
		if elem == "" || elem[0] == '.' || strings.HasSuffix(elem, ".lock") {
			return invalid(what, "an element between slashes is empty, begins with '.' or ends with '.lock'")
		}
	}
	return nil
}

func isBadInRef(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r)
}
