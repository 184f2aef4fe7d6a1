package mirror

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Refs is what the mirror's branches and tags were after a fetch. It does not change.
type Refs struct {
	Format  string // of object names: "sha1" or "sha256"
	Head    string // the remote's default branch; it need not exist
	Objects string // the mirror's object directory, for objects/info/alternates
	// Packed is the remote-tracking branches and the tags as lines of a packed-refs file.
	Packed []byte

	branches map[string]string // name to commit
}

// Branch returns the commit of a branch.
func (r *Refs) Branch(name string) (commit string, ok bool) {
	commit, ok = r.branches[name]
	return commit, ok
}

// Empty reports whether the repository has no branch.
func (r *Refs) Empty() bool { return len(r.branches) == 0 }

// PackedHeader is what a packed-refs file begins with, when its lines are sorted and tags are peeled.
const PackedHeader = "# pack-refs with: peeled fully-peeled sorted \n"

// readRefs reads the refs of a bare repository whose refs were all packed.
func readRefs(repo string) (*Refs, error) {
	r := &Refs{Format: "sha1", Objects: filepath.Join(repo, "objects"), branches: make(map[string]string)}
	config, err := os.ReadFile(filepath.Join(repo, "config"))
	if err != nil {
		return nil, err
	}
	if strings.Contains(strings.ToLower(string(config)), "objectformat = sha256") {
		r.Format = "sha256"
	}
	head, err := os.ReadFile(filepath.Join(repo, "HEAD"))
	if err != nil {
		return nil, err
	}
	if name, ok := strings.CutPrefix(strings.TrimSpace(string(head)), "ref: refs/heads/"); ok {
		r.Head = name
	}
	packed, err := os.Open(filepath.Join(repo, "packed-refs"))
	if os.IsNotExist(err) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	return r, r.parse(packed)
}

// parse reads packed-refs: "ID refs/heads/x", and "^ID" after an annotated tag.
func (r *Refs) parse(packed *os.File) error {
	var heads, tags bytes.Buffer
	into := &tags
	s := bufio.NewScanner(packed)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := s.Text()
		id, ref, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "^"):
			if into != nil {
				fmt.Fprintln(into, line)
			}
		case strings.HasPrefix(ref, "refs/heads/"):
			into = &heads
			name := strings.TrimPrefix(ref, "refs/heads/")
			r.branches[name] = id
			fmt.Fprintf(into, "%s refs/remotes/origin/%s\n", id, name)
		case strings.HasPrefix(ref, "refs/tags/"):
			into = &tags
			fmt.Fprintln(into, line)
		case ref == "":
			return fmt.Errorf("packed-refs has a bad line")
		default:
			into = nil
		}
	}
	r.Packed = append(heads.Bytes(), tags.Bytes()...)
	return s.Err()
}
