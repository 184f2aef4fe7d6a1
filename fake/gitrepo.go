package fake

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/agent/filewire"
)

// A commit is one that a session has made or the remote has. It does not change.
type commit struct {
	id, message, author string
	at                  time.Time
	parent              *commit // nil = it has none, or none that is known
	tree                map[string]blob
}

// A blob is a file of a tree.
type blob struct {
	mode fs.FileMode // its type, and 0o755 or 0o644
	data string      // its content, or the target of a link
}

// newCommit makes a commit.
func newCommit(parent *commit, tree map[string]blob, message, author string) *commit {
	c := &commit{message: message, author: author, at: time.Now(), parent: parent, tree: tree}
	h := sha1.New()
	fmt.Fprintf(h, "%s\x00%s\x00%d\x00", message, author, c.at.UnixNano())
	if parent != nil {
		fmt.Fprint(h, parent.id)
	}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		fmt.Fprintf(h, "%s\x00%v\x00%s\x00", name, tree[name].mode, tree[name].data)
	}
	c.id = hex.EncodeToString(h.Sum(nil))
	return c
}

func (c *commit) subject() string {
	subject, _, _ := strings.Cut(c.message, "\n")
	return subject
}

// has reports whether another commit is this one or an ancestor.
func (c *commit) has(id string) bool {
	for ; c != nil; c = c.parent {
		if c.id == id {
			return true
		}
	}
	return false
}

// repository is that of a session.
type repository struct {
	branch string // "" = HEAD is detached
	head   *commit
	known  map[string]bool   // the commits that the remote has, as far as the session knows
	remote map[string]string // the remote's branches, as far as the session knows
}

// openRepository gives a session its repository, and the files of its commit. The caller holds the node's mu.
func (s *session) openRepository(n *node, m *mirror) {
	r := &n.engine.remotes
	r.mu.Lock()
	head := r.objects[s.commit]
	r.mu.Unlock()
	if head == nil {
		head = &commit{id: s.commit, message: "a commit of the remote", author: "remote"}
	}
	s.git = &repository{branch: s.branch, head: head, known: maps.Clone(m.commits), remote: maps.Clone(m.refs.branches)}
	for branch, id := range m.refs.branches {
		if isSave(branch) {
			delete(s.git.known, id)
		}
	}
	if len(head.tree) > 0 {
		s.filesOn(n).checkOut(head.tree)
	}
}

// isSave reports whether a branch only keeps what a session had not pushed.
func isSave(branch string) bool { return strings.HasPrefix(branch, "berth/save/") }

// base returns the newest ancestor of HEAD that the remote has; nil = none.
func (r *repository) base() *commit {
	for c := r.head; c != nil; c = c.parent {
		if r.known[c.id] {
			return c
		}
	}
	return nil
}

// unpushed returns the commits that the remote does not have, the newest first.
func (r *repository) unpushed() (all []*commit) {
	for c := r.head; c != nil && !r.known[c.id]; c = c.parent {
		all = append(all, c)
	}
	return all
}

// workTree returns the files of the checkout, without .git.
func (f *Files) workTree() map[string]blob {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	tree := make(map[string]blob)
	var walk func(dir string, at *inode)
	walk = func(dir string, at *inode) {
		for name, n := range at.below {
			full := path.Join(dir, name)
			switch {
			case full == ".git":
			case n.below != nil:
				walk(full, n)
			case n.mode&fs.ModeSymlink != 0:
				tree[full] = blob{fs.ModeSymlink, n.target}
			case n.mode.IsRegular() && n.mode&0o100 != 0:
				tree[full] = blob{0o755, string(n.data)}
			case n.mode.IsRegular():
				tree[full] = blob{0o644, string(n.data)}
			}
		}
	}
	if at := f.mkdirAll(path.Clean("/" + f.workdir)); at != nil {
		walk("", at)
	}
	return tree
}

// checkOut makes the files of the checkout those of a tree.
func (f *Files) checkOut(tree map[string]blob) {
	now := f.workTree()
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range now {
		if _, stays := tree[name]; !stays {
			at := f.at(name)
			if dir, _, err := f.find(path.Dir(at), true); err == nil {
				delete(dir.below, path.Base(at))
				f.note(at, filewire.Removed)
			}
		}
	}
	for name, b := range tree {
		if now[name] == b {
			continue
		}
		at := f.at(name)
		if dir := f.mkdirAll(path.Dir(at)); dir != nil {
			n := &inode{mode: b.mode, mtime: time.Now(), data: []byte(b.data)}
			if b.mode&fs.ModeSymlink != 0 {
				n.mode, n.data, n.target = fs.ModeSymlink|0o777, nil, b.data
			}
			dir.below[path.Base(at)] = n
			f.note(at, filewire.Created|filewire.Written)
		}
	}
}

// receive is a push: it makes a branch of a remote repository name a commit, and returns git's words if the server refuses,
// or is not among the hosts that the client trusts.
func (r *remotes) receive(spelling, hosts, branch string, c *commit, force bool) (refused string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.of(spelling)
	was := m.refs.branches[branch]
	if words := m.untrusted(spelling, hosts); words != "" {
		return words
	}
	switch {
	case m.repo.PushErr != nil:
		return m.repo.PushErr.Error()
	case m.repo.Err != nil:
		return m.repo.Err.Error()
	case m.repo.Missing:
		return "remote: Repository not found."
	case was != "" && !force && !c.has(was):
		return fmt.Sprintf("! [rejected] HEAD -> %s (fetch first)\nerror: failed to push some refs", branch)
	}
	if r.objects == nil {
		r.objects = make(map[string]*commit)
	}
	for at := c; at != nil && r.objects[at.id] == nil; at = at.parent {
		r.objects[at.id] = at
	}
	fresh := *m.refs
	fresh.branches = maps.Clone(fresh.branches)
	fresh.branches[branch] = c.id
	m.refs = &fresh
	return ""
}

// Files returns the files of a branch of a remote repository: those that sessions have committed and pushed. It returns nil if there is
// no such branch, or no session has pushed to it.
func (r *remotes) Files(spelling, branch string) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.objects[r.of(spelling).refs.branches[branch]]
	if c == nil {
		return nil
	}
	files := make(map[string]string)
	for name, b := range c.tree {
		files[name] = b.data
	}
	return files
}

// RefusePushes makes a remote repository refuse every push with err. nil undoes it. See Repo.PushErr.
func (r *remotes) RefusePushes(spelling string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(spelling).repo.PushErr = err
}
