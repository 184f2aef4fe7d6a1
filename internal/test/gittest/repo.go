package gittest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Repo is a bare repository in memory, made without git. Its hashes depend only on the commits. It is safe for
// concurrent use, even while it is served.
type Repo struct {
	name string

	mu       sync.RWMutex                 // protects the fields below
	objects  map[string][]byte            // compressed, by hash
	branches map[string]string            // head of each branch
	trees    map[string]map[string]string // files at the head of each branch
	head     string                       // the default branch
	when     time.Time                    // of the next commit
}

// NewRepo returns an empty repository whose default branch is main. name is like "owner/name".
func NewRepo(name string) *Repo {
	return &Repo{
		name:     name,
		objects:  make(map[string][]byte),
		branches: make(map[string]string),
		trees:    make(map[string]map[string]string),
		head:     "main",
		when:     time.Date(2024, 1, 1, 9, 0, 0, 0, time.UTC),
	}
}

// Name returns the name of the repository.
func (r *Repo) Name() string { return r.name }

// Commit adds a commit to a branch and returns its hash. files are added to the files of the branch, or replace them.
// Those that begin with "#!" are executable. A branch that does not exist begins at the default branch's head.
func (r *Repo) Commit(branch, message string, files map[string]string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := branch
	if _, exists := r.branches[branch]; !exists {
		from = r.head
	}
	tree := maps.Clone(r.trees[from])
	if tree == nil {
		tree = make(map[string]string)
	}
	maps.Copy(tree, files)

	var b strings.Builder
	fmt.Fprintf(&b, "tree %s\n", r.writeTree(tree))
	if parent := r.branches[from]; parent != "" {
		fmt.Fprintf(&b, "parent %s\n", parent)
	}
	who := fmt.Sprintf("Berth Example <example@berth.invalid> %d +0000", r.when.Unix())
	fmt.Fprintf(&b, "author %s\ncommitter %s\n\n%s\n", who, who, message)
	hash := r.write("commit", []byte(b.String()))

	r.branches[branch], r.trees[branch] = hash, tree
	r.when = r.when.Add(time.Hour)
	return hash
}

// Head returns the hash of a branch's newest commit, or "" if there is no such branch.
func (r *Repo) Head(branch string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.branches[branch]
}

// writeTree writes the files of a directory, and of those below it, and returns the hash of its tree.
func (r *Repo) writeTree(files map[string]string) string {
	type entry struct{ key, mode, name, hash string } // git sorts by key. The key of a directory ends in a slash
	var entries []entry
	below := make(map[string]map[string]string)
	for path, content := range files {
		name, rest, nested := strings.Cut(path, "/")
		if !nested {
			entries = append(entries, entry{name, modeOf(content), name, r.write("blob", []byte(content))})
			continue
		}
		if below[name] == nil {
			below[name] = make(map[string]string)
		}
		below[name][rest] = content
	}
	for name, files := range below {
		entries = append(entries, entry{name + "/", "40000", name, r.writeTree(files)})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	var b []byte
	for _, e := range entries {
		b = append(b, e.mode+" "+e.name+"\x00"...)
		b = append(b, raw(e.hash)...)
	}
	return r.write("tree", b)
}
