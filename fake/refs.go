package fake

import (
	"fmt"
	"strings"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/gitremote"
)

// refs maps the branches and tags of a repository to their commits. It does not change.
type refs struct {
	standard       string // the default branch
	detached       string // the commit of a detached HEAD; "" = HEAD names standard
	branches, tags map[string]string
}

// resolve finds the commit and the branch of a new session, as the real agent does. commits are those of the mirror.
func (r *refs) resolve(name string, commits map[string]bool) (branch, commit string, err error) {
	switch {
	case name == "" && r.detached != "":
		return "", r.detached, nil
	case name == "" && r.branches[r.standard] != "":
		return r.standard, r.branches[r.standard], nil
	case name == "":
		return "", "", fmt.Errorf("%w: the remote's default branch, %q, does not exist; name another as SessionRequest.Branch", agent.ErrBranchNotFound, r.standard)
	}
	for _, ref := range gitremote.Candidates(name) {
		if branch, ok := strings.CutPrefix(ref, "refs/heads/"); ok && r.branches[branch] != "" {
			return branch, r.branches[branch], nil
		}
		if tag, ok := strings.CutPrefix(ref, "refs/tags/"); ok && r.tags[tag] != "" {
			return "", r.tags[tag], nil
		}
	}
	if gitremote.IsAbbreviation(name) {
		for id := range commits {
			if strings.HasPrefix(id, strings.ToLower(name)) {
				return "", id, nil
			}
		}
	}
	return "", "", fmt.Errorf("%w: %q", agent.ErrBranchNotFound, name)
}
