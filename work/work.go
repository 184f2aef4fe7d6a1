// Package work describes what a session has done to its repository: what Session.Changes, Session.Commit and Session.Push of package
// berth take and return.
package work

import (
	"errors"
	"time"
)

// Changes is what the checkout of a session has that its remote does not have, as far as the session knows the remote: what others have
// pushed since the session's last fetch is not in it.
type Changes struct {
	// Branch is the branch that is checked out; "" = HEAD is detached. Head is its commit; "" = it has none.
	Branch, Head string
	// Files are the files that are not committed, in the order of git status. Ignored files are none of them.
	Files []File
	// Unpushed are the commits of HEAD and of all local branches that no remote-tracking branch has, the newest first.
	Unpushed []Commit
	// Stashes are the entries of git stash, the newest first, as "stash@{0} WIP on main: ...".
	Stashes []string
	// Truncated says that there is more: at most 10,000 files, 1,000 commits and 100 stashes are listed.
	Truncated bool
}

// Clean reports whether nothing would be lost with the checkout, apart from ignored files.
func (c Changes) Clean() bool {
	return len(c.Files) == 0 && len(c.Unpushed) == 0 && len(c.Stashes) == 0
}

// File is a file that is not committed. An untracked directory with a repository of its own is one File, whose Path ends with a slash.
type File struct {
	Path string
	From string // the former path of a file that was renamed or copied in the index
	// Index says how the file in the index differs from that of HEAD, and Tree how the file itself differs from that of the index.
	Index, Tree State
}

// Untracked reports whether git does not track the file.
func (f File) Untracked() bool { return f.Tree == Untracked }

// State is how a file differs, by git's letter for it.
type State byte

// The states of a file.
const (
	Same        State = '.'
	Modified    State = 'M'
	TypeChanged State = 'T'
	Added       State = 'A'
	Deleted     State = 'D'
	Renamed     State = 'R'
	Copied      State = 'C'
	Unmerged    State = 'U'
	Untracked   State = '?'
)

// String returns git's letter.
func (s State) String() string { return string(rune(s)) }

// Commit is a commit.
type Commit struct {
	ID      string
	Subject string
	Author  string
	Time    time.Time // when it was made, by the author's clock
}

// CommitOptions say what is committed. All but Message may be left out.
type CommitOptions struct {
	Message string
	// Paths are the files and directories whose changes are committed, relative to the checkout. nil = all that is not ignored
	Paths []string
	// AuthorName and AuthorEmail are the author's. Default: those of SessionRequest.Author. The committer is always that one
	AuthorName, AuthorEmail string
	AllowEmpty              bool // makes a commit even if nothing has changed
	NoVerify                bool // leaves out the hooks pre-commit and commit-msg
}

// PushOptions say what is pushed where. The zero value pushes HEAD to the branch of its name at the origin.
type PushOptions struct {
	Remote string // Default "origin"
	// Branch is the branch at the remote that gets HEAD. Default: the one that is checked out. It is required if HEAD is detached
	Branch string
	// Force replaces what the branch has, provided that it is what the session knows of it (git push --force-with-lease)
	Force    bool
	NoVerify bool // leaves out the hook pre-push
}

// Pushed says what was pushed.
type Pushed struct {
	Branch string // at the remote
	Commit string
}

// The errors of this package. If git itself fails, the error is a *agent.GitError with git's own words.
var (
	// ErrNoChanges says that there is nothing to commit.
	ErrNoChanges = errors.New("work: nothing to commit")
	// ErrRejected says that the remote has refused a push: most often its branch has commits that the session's does not have.
	ErrRejected = errors.New("work: the remote has rejected the push")
	// ErrIncomplete says that a part of the work is left out: git cannot read it, or it is a repository of its own. The error names
	// what is left out.
	ErrIncomplete = errors.New("work: a part is left out")
)
