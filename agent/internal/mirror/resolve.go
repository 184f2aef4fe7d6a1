package mirror

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/wire"
)

// ErrBranchNotFound says that the mirror is up to date and has nothing of that name.
var ErrBranchNotFound = errors.New("no such branch, tag or commit")

// A Target is the branch and the commit that a session's checkout begins with.
type Target struct {
	Branch string // "" = HEAD is detached
	Commit string // "" = the branch has none yet
	Tree   Tree   // of the commit
}

// Resolve returns the target that a name means, as for git clone --branch: a branch, or else a tag. A name may also be the full
// name of either (refs/heads/x), a remote-tracking branch (origin/x), or the ID of a commit that the mirror has, of at least 7
// digits. "" means the branch or commit that the remote's HEAD points to. A target whose files are over a limit is a *git.Error.
func (m *Mirror) Resolve(ctx context.Context, refs *Refs, name string) (Target, error) {
	if refs == nil {
		return Target{}, errors.New("nothing was fetched yet")
	}
	target, err := m.resolve(ctx, refs, name)
	if err == nil && target.Commit != "" {
		if target.Tree, err = m.measure(ctx, target.Commit); err != nil && !isRefusal(err) && ctx.Err() == nil {
			m.Suspect() // its objects may be missing
		}
	}
	if err != nil {
		return Target{}, err
	}
	return target, nil
}

func (m *Mirror) resolve(ctx context.Context, refs *Refs, name string) (Target, error) {
	if name == "" {
		return refs.standard()
	}
	branch, id, err := refs.lookup(name)
	switch {
	case err != nil:
		return Target{}, err
	case branch != "":
		return Target{Branch: branch, Commit: id}, nil
	case id == "" && refs.branches+refs.tags == 0:
		return Target{}, notFound(name, "the remote has no commit yet")
	case id == "" && !gitremote.IsAbbreviation(name):
		return Target{}, notFound(name, "")
	}
	commit, err := m.commit(ctx, firstOf(id, name))
	switch failed := (*git.Error)(nil); {
	case err == nil:
		return Target{Commit: commit}, nil
	case !errors.As(err, &failed):
		return Target{}, err
	case id != "":
		return Target{}, notFound(name, "the tag is not of a commit")
	case strings.Contains(failed.Message, "ambiguous"):
		return Target{}, notFound(name, "more than one commit begins so")
	}
	return Target{}, notFound(name, "")
}

func notFound(name, why string) error {
	if why != "" {
		why = " (" + why + ")"
	}
	return fmt.Errorf("%w: %q%s", ErrBranchNotFound, name, why)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// lookup finds a branch and its commit, or else a tag, for which branch is empty.
func (r *Refs) lookup(name string) (branch, id string, err error) {
	for _, ref := range gitremote.Candidates(name) {
		if branch, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
			if id, err = r.Branch(branch); id != "" || err != nil {
				return branch, id, err
			}
		}
		if tag, ok := strings.CutPrefix(ref, "refs/tags/"); ok {
			if id, err = r.tag(tag); id != "" || err != nil {
				return "", id, err
			}
		}
	}
	return "", "", nil
}

// standard returns the target that a clone begins with. If HEAD is detached at the commit of a branch, it is that branch, as for
// git: master, or else the first by name.
func (r *Refs) standard() (Target, error) {
	commit, err := r.Branch(r.Head)
	switch {
	case err != nil:
		return Target{}, err
	case commit != "":
		return Target{Branch: r.Head, Commit: commit}, nil
	case r.HeadCommit != "":
		return Target{Branch: r.headsAt, Commit: r.HeadCommit}, nil
	case r.branches == 0:
		return Target{Branch: firstOf(r.Head, "main")}, nil // an empty repository, which need not say
	}
	return Target{}, fmt.Errorf("%w: the remote's default branch, %q, does not exist; name another as SessionRequest.Branch", ErrBranchNotFound, r.Head)
}

// commit returns the full ID of a commit, or of the commit that a tag object leads to. It returns a *git.Error if the mirror
// has none.
func (m *Mirror) commit(ctx context.Context, id string) (string, error) {
	out, err := git.Run(ctx, m.Table, m.job("rev-parse", wire.Fetch{}, nil,
		"--git-dir="+m.repo, "rev-parse", "--verify", id+"^{commit}"))
	return strings.TrimSpace(string(out)), err
}

// bring fetches a commit that no branch and no tag need reach, unless the mirror has it.
func (m *Mirror) bring(ctx context.Context, r wire.Fetch, id string, progress func(wire.Progress)) error {
	if _, err := m.commit(ctx, id); err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	defer os.Remove(filepath.Join(m.repo, "FETCH_HEAD"))
	job := m.job("fetch", r, progress,
		"--git-dir="+m.repo, "fetch", "--progress", "--no-tags", "--no-recurse-submodules", "--update-shallow", "--", r.URL, strings.ToLower(id))
	job.Watch = m.watch(m.repo)
	_, err := m.remote(ctx, r, job)
	if err == nil {
		_, err = m.commit(ctx, id) // it may be a tag's or a file's
	}
	return err
}
