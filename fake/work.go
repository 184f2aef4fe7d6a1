package fake

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/berth-go/berth/agent"
)

// helps reports whether a command starts one of the agent's own programs, which is none of the session's commands.
func helps(c agent.Command) bool { return c.Files || c.Work != "" }

// said says why a program has failed, and returns its exit code.
func said(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(w, err)
	return 1
}

// packedFile is a file in packed work. The fake packs all files of the checkout, and not as the real agent does.
type packedFile struct {
	Name   string // relative to the checkout
	Mode   fs.FileMode
	Mtime  time.Time
	Data   []byte
	Target string
	Linked int // the number of the file, by which further names of it are known
}

// packedGit is the repository in packed work.
type packedGit struct {
	Branch  string
	Commits []packedCommit // of HEAD, the newest first, up to the one that the session began with
}

// packedCommit is a commit in packed work.
type packedCommit struct {
	ID, Message, Author string
	At                  time.Time
	Tree                map[string]packedBlob
}

type packedBlob struct {
	Mode fs.FileMode
	Data string
}

// packGit returns what the repository has beside what a session begins with at a commit. The caller holds the node's mu.
func (r *repository) packGit(base string) packedGit {
	git := packedGit{Branch: r.branch}
	for c := r.head; c != nil && c.id != base; c = c.parent {
		p := packedCommit{ID: c.id, Message: c.message, Author: c.author, At: c.at, Tree: make(map[string]packedBlob)}
		for name, b := range c.tree {
			p.Tree[name] = packedBlob{b.mode, b.data}
		}
		git.Commits = append(git.Commits, p)
	}
	return git
}

// unpackGit makes of a fresh repository what was packed. The caller holds the node's mu.
func (r *repository) unpackGit(git packedGit) {
	r.branch = git.Branch
	for _, p := range slices.Backward(git.Commits) {
		c := &commit{id: p.ID, message: p.Message, author: p.Author, at: p.At, parent: r.head, tree: make(map[string]blob)}
		for name, b := range p.Tree {
			c.tree[name] = blob{b.Mode, b.Data}
		}
		r.head = c
	}
}

// packWork writes the files of the checkout, and its repository.
func (f *Files) packWork(out io.Writer, commit string, git packedGit) error {
	list := f.packed()
	head := agent.WorkHead{Version: 1, Commit: commit, Files: len(list)}
	for _, one := range list {
		head.Bytes += int64(len(one.Data))
	}
	encoder := json.NewEncoder(out)
	if err := encoder.Encode(head); err != nil {
		return err
	}
	if err := encoder.Encode(git); err != nil {
		return err
	}
	return encoder.Encode(list)
}

func (f *Files) packed() (list []packedFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	top, _, err := f.find(f.at("."), true)
	if err != nil {
		return nil
	}
	numbers := make(map[*inode]int)
	var walk func(dir string, at *inode)
	walk = func(dir string, at *inode) {
		for _, name := range slices.Sorted(maps.Keys(at.below)) {
			n := at.below[name]
			if numbers[n] == 0 {
				numbers[n] = len(numbers) + 1
			}
			list = append(list, packedFile{path.Join(dir, name), n.mode, n.mtime, slices.Clone(n.data), n.target, numbers[n]})
			if n.below != nil {
				walk(path.Join(dir, name), n)
			}
		}
	}
	walk("", top)
	return list
}

// unpackWork makes the checkout what was packed, and calls restore with its repository.
func (f *Files) unpackWork(in io.Reader, restore func(packedGit)) error {
	r := bufio.NewReader(in)
	if _, err := agent.ReadWorkHead(r); err != nil {
		return err
	}
	var list []packedFile
	var git packedGit
	decoder := json.NewDecoder(r)
	if err := errors.Join(decoder.Decode(&git), decoder.Decode(&list)); err != nil {
		return fmt.Errorf("fake: the snapshot is refused: %w", err)
	}
	if rest, err := io.ReadAll(io.MultiReader(decoder.Buffered(), r)); err != nil || len(rest) > 1 {
		return errors.New("fake: the snapshot is refused: something follows its end")
	}
	if err := f.fill(list); err != nil {
		return err
	}
	restore(git)
	return nil
}

// fill makes the checkout what was packed.
func (f *Files) fill(list []packedFile) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	top := f.mkdirAll(f.at("."))
	top.below = make(map[string]*inode)
	made := make(map[int]*inode)
	for _, one := range list {
		if !fs.ValidPath(one.Name) || one.Name == "." {
			return errors.New("fake: the snapshot is refused: a file outside of the checkout")
		}
		dir := top
		if above := path.Dir(one.Name); above != "." {
			dir = f.mkdirAll(path.Join(f.at("."), above))
		}
		if dir == nil {
			return errors.New("fake: the snapshot is refused: a file in a file")
		}
		n := made[one.Linked]
		if n == nil {
			n = &inode{mode: one.Mode, mtime: one.Mtime, data: one.Data, target: one.Target}
			if one.Mode.IsDir() {
				n.below = make(map[string]*inode)
			}
			made[one.Linked] = n
		}
		dir.below[path.Base(one.Name)] = n
	}
	return nil
}
