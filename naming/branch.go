package naming

import (
	"strings"
	"unicode/utf8"
)

// MaxBranchLen is the length in bytes that a branch name may have. Git has no
// limit of its own, file systems and forges do.
const MaxBranchLen = 1024

// ValidateBranch returns an error that wraps [ErrInvalid] unless name can be
// the name of a branch. It accepts what "git check-ref-format --branch" accepts
// outside a repository, but for names that are not UTF-8 or longer than
// [MaxBranchLen], which records could not hold.
//
// A name always stands for refs/heads/<name>, and has to be handed to git so.
// Then "@", a name that looks like a commit ID and "refs/heads/main" (of
// refs/heads/refs/heads/main) are legal and mean one thing, and "main" has no
// second spelling. "-", "@{-1}" and the like, which git replaces by another
// branch, are refused. A valid name may hold characters that shells act on, or
// that change how text is shown: quote it.
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
