package mirror

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/wire"
)

// head is where a remote's HEAD points to: to a branch, or else to a commit. It is empty where git cannot say: in an
// empty repository, and where the branch does not exist.
type head struct{ branch, commit string }

// maxHead bounds how much of the answer is read. HEAD comes first; what follows are refs whose names end in /HEAD.
const maxHead = 64 << 10

// parseHead reads what ls-remote --symref HEAD prints: "ref: refs/heads/main\tHEAD", unless HEAD is detached, and
// "ID\tHEAD".
func parseHead(out io.Reader) (h head, err error) {
	lines := bufio.NewScanner(io.LimitReader(out, maxHead))
	lines.Buffer(nil, maxHead)
	for lines.Scan() {
		value, name, _ := strings.Cut(strings.TrimSpace(lines.Text()), "\t")
		if name != "HEAD" {
			continue
		}
		if branch, ok := strings.CutPrefix(value, "ref: refs/heads/"); ok && gitremote.IsBranch(branch) {
			h.branch = branch
		} else if gitremote.IsCommit(value) {
			h.commit = value
		}
	}
	if h.branch != "" {
		h.commit = ""
	}
	return h, lines.Err()
}

// follow makes the mirror's HEAD point to where the remote's does.
func (m *Mirror) follow(ctx context.Context, r wire.Fetch, h head, progress func(wire.Progress)) error {
	switch refs := m.refs.Load(); {
	case h.branch != "" && (refs == nil || refs.Head != h.branch):
		return m.writeHead(m.repo, "ref: refs/heads/"+h.branch)
	case h.commit != "" && (refs == nil || refs.HeadCommit != h.commit):
		switch err := m.bring(ctx, r, h.commit, progress); {
		case err == nil:
			return m.writeHead(m.repo, h.commit)
		case ctx.Err() != nil || passing(err):
			return err
		default:
			m.Log.Warn("the remote's HEAD is a commit that it does not give out; HEAD stays as it was", "commit", h.commit, "error", err)
		}
	}
	return nil
}

// checkHead replaces the HEAD of a new clone if it names no legal branch. Git writes what the remote says, and would take
// the result for no repository.
func (m *Mirror) checkHead(repo string) error {
	head, err := readAtMost(filepath.Join(repo, "HEAD"), maxRefLine)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(string(head), "\n")
	if branch, ok := strings.CutPrefix(name, "ref: refs/heads/"); ok && gitremote.IsBranch(branch) || gitremote.IsCommit(name) {
		return nil
	}
	m.Log.Warn("the remote's HEAD is no branch; HEAD is main", "head", gitremote.Line(name, 200))
	return m.writeHead(repo, "ref: refs/heads/main")
}

// writeHead makes HEAD point elsewhere, in one step.
func (m *Mirror) writeHead(repo, text string) error {
	file := filepath.Join(repo, "HEAD")
	err := os.WriteFile(file+".new", []byte(text+"\n"), 0o644)
	if err == nil {
		err = errors.Join(os.Chmod(file+".new", 0o644), os.Chown(file+".new", UID, UID), os.Rename(file+".new", file))
	}
	if err != nil {
		return &git.Error{Op: "fetch", Message: err.Error()} // git would have failed alike
	}
	return nil
}
