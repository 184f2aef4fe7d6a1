package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/berth-go/berth/agent/internal/git"
)

// Limits are agent.RepositoryLimits.
type Limits struct {
	Refs, RefBytes, FetchBytes int64
	Files, Bytes, Depth        int64
}

// Set returns the limits with the defaults for those that are 0.
func (l Limits) Set() Limits {
	return Limits{
		Refs: cmp.Or(l.Refs, 1_000_000), RefBytes: cmp.Or(l.RefBytes, 256<<20), FetchBytes: cmp.Or(l.FetchBytes, 64<<30),
		Files: cmp.Or(l.Files, 2_000_000), Bytes: cmp.Or(l.Bytes, 20<<30), Depth: cmp.Or(l.Depth, 2048),
	}
}

// noLimits are for a look at what is there already.
var noLimits = Limits{-1, -1, -1, -1, -1, -1}

// over reports whether a number is more than its limit.
func over(n, limit int64) bool { return limit >= 0 && n > limit }

const refused = "the repository is refused: "

// isRefusal reports whether a repository is over a limit.
func isRefusal(err error) bool {
	failed, ok := errors.AsType[*git.Error](err)
	return ok && strings.HasPrefix(failed.Message, refused)
}

// refusal is the error of a repository that is over a limit.
func refusal(op, what string, limit int64, setting string) error {
	return &git.Error{Op: op, Message: fmt.Sprintf(refused+"%s, and the limit is %d (Config.Limits.Repository.%s)", what, limit, setting)}
}

func (l Limits) checkRefs(n, bytes int64) error {
	switch {
	case over(n, l.Refs):
		return refusal("fetch", fmt.Sprintf("it has more than %d branches and tags", l.Refs), l.Refs, "Refs")
	case over(bytes, l.RefBytes):
		return refusal("fetch", fmt.Sprintf("its branches and tags take more than %d bytes", l.RefBytes), l.RefBytes, "RefBytes")
	}
	return nil
}

func (l Limits) checkFetch(bytes int64) error {
	if over(bytes, l.FetchBytes) {
		return refusal("fetch", fmt.Sprintf("the fetch has brought %d bytes", bytes), l.FetchBytes, "FetchBytes")
	}
	return nil
}

func (l Limits) checkTree(t Tree) error {
	switch {
	case over(t.Files, l.Files):
		return refusal("checkout", fmt.Sprintf("the checkout would have %d files and directories or more", t.Files), l.Files, "Files")
	case over(t.Bytes, l.Bytes):
		return refusal("checkout", fmt.Sprintf("the checkout would have %d bytes or more", t.Bytes), l.Bytes, "Bytes")
	case over(t.Depth, l.Depth):
		return refusal("checkout", fmt.Sprintf("the checkout would have %d directories inside each other or more", t.Depth), l.Depth, "Depth")
	}
	return nil
}
