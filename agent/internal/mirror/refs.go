package mirror

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-go/berth/agent/gitremote"
)

// Refs has the mirror's branches and tags after a fetch. It does not change. They are in a file that has no name any more, so
// that they take no memory, however many a remote has.
type Refs struct {
	Format string // of object names: "sha1" or "sha256"
	Head   string // the remote's default branch; it need not exist
	// HeadCommit is the commit of a remote whose HEAD is detached; Head is then empty.
	HeadCommit string
	// Shallow is the repository's file of that name: the commits where a shallow remote's history ends, one a line.
	Shallow []byte
	Objects string // the mirror's object directory, for objects/info/alternates

	packed   *os.File // the remote-tracking branches and the tags as lines of a packed-refs file; nil = there are none
	size     int64    // of packed
	sections []section
	branches int
	tags     int
	headsAt  string // the branch that git takes for HEAD's if HEAD is detached; "" = none has its commit
}

// A section is a part of the packed refs. It begins with a ref's line.
type section struct {
	ref   string // the first one
	begin int64
}

// sectionSize is the least size of a section: a look-up reads one.
const sectionSize = 128 << 10

// maxRefLine bounds a line of packed-refs. A file system takes no longer name.
const maxRefLine = 8 << 10

// maxShallow bounds the file of a shallow repository: 400,000 commits.
const maxShallow = 16 << 20

// The refs of a session's repository.
const (
	trackingPrefix = "refs/remotes/origin/"
	tagPrefix      = "refs/tags/"
)

// Packed returns the remote-tracking branches and the tags as lines of a packed-refs file.
func (r *Refs) Packed() io.Reader {
	if r.packed == nil {
		return strings.NewReader("")
	}
	return io.NewSectionReader(r.packed, 0, r.size)
}

// Branch returns the commit of a branch, or "" if there is no such branch.
func (r *Refs) Branch(name string) (commit string, err error) { return r.find(trackingPrefix + name) }

// tag returns the object of a tag, or "" if there is no such tag.
func (r *Refs) tag(name string) (id string, err error) { return r.find(tagPrefix + name) }

// find returns the object of a ref of the session's repository.
func (r *Refs) find(ref string) (id string, err error) {
	n, found := slices.BinarySearchFunc(r.sections, ref, func(s section, ref string) int { return cmp.Compare(s.ref, ref) })
	if !found {
		n-- // it is in the section that begins before it
	}
	if n < 0 {
		return "", nil
	}
	end := r.size
	if n+1 < len(r.sections) {
		end = r.sections[n+1].begin
	}
	lines := bufio.NewScanner(io.NewSectionReader(r.packed, r.sections[n].begin, end-r.sections[n].begin))
	lines.Buffer(nil, 2*maxRefLine)
	for lines.Scan() {
		if id, name, _ := strings.Cut(lines.Text(), " "); name == ref {
			return id, nil
		}
	}
	return "", lines.Err()
}

// close frees the file at once. Otherwise it is freed with the Refs.
func (r *Refs) close() {
	if r != nil && r.packed != nil {
		r.packed.Close()
	}
}

// PackedHeader is the first line of a packed-refs file whose lines are sorted and whose tags are peeled.
const PackedHeader = "# pack-refs with: peeled fully-peeled sorted \n"

// readRefs reads the refs of a bare repository whose refs were all packed. It returns a *git.Error if there are too many.
func readRefs(repo string, limits Limits) (*Refs, error) {
	r := &Refs{Format: "sha1", Objects: filepath.Join(repo, "objects")}
	config, err := os.ReadFile(filepath.Join(repo, "config"))
	if err != nil {
		return nil, err
	}
	if strings.Contains(strings.ToLower(string(config)), "objectformat = sha256") {
		r.Format = "sha256"
	}
	head, err := readAtMost(filepath.Join(repo, "HEAD"), maxRefLine)
	if err != nil {
		return nil, err
	}
	if name, ok := strings.CutPrefix(strings.TrimSpace(string(head)), "ref: refs/heads/"); ok {
		r.Head = name
	} else if id := strings.TrimSpace(string(head)); gitremote.IsCommit(id) {
		r.HeadCommit = id
	}
	if r.Shallow, err = readAtMost(filepath.Join(repo, "shallow"), maxShallow); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	packed, err := os.Open(filepath.Join(repo, "packed-refs"))
	if os.IsNotExist(err) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	if r.packed, err = os.CreateTemp(filepath.Dir(repo), ".refs-"); err != nil {
		return nil, err
	}
	if err = errors.Join(os.Remove(r.packed.Name()), r.parse(packed, limits)); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// readAtMost reads a file that is to be short.
func readAtMost(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", name, most)
	}
	return text, err
}

// parse reads packed-refs: "ID refs/heads/x", and "^ID" after an annotated tag. Git sorts it by the names.
func (r *Refs) parse(packed io.Reader, limits Limits) error {
	out := bufio.NewWriterSize(r.packed, 64<<10)
	wanted, last := false, ""
	lines := bufio.NewScanner(packed)
	lines.Buffer(nil, maxRefLine)
	for lines.Scan() {
		line := lines.Text()
		id, ref, _ := strings.Cut(line, " ")
		switch branch, ok := strings.CutPrefix(ref, "refs/heads/"); {
		case strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "^"):
			if wanted {
				r.size += write(out, line, "\n")
			}
			continue
		case ref == "" || ref <= last:
			return errors.New("packed-refs has a bad line")
		case ok:
			last, wanted, ref = ref, true, trackingPrefix+branch
			r.branches++
			if id == r.HeadCommit && (r.headsAt == "" || branch == "master") {
				r.headsAt = branch
			}
		default:
			last, wanted = ref, strings.HasPrefix(ref, tagPrefix)
			if !wanted {
				continue
			}
			r.tags++
		}
		if n := len(r.sections); n == 0 || r.size-r.sections[n-1].begin >= sectionSize {
			r.sections = append(r.sections, section{ref, r.size})
		}
		r.size += write(out, id, " ", ref, "\n")
		if err := limits.checkRefs(int64(r.branches+r.tags), r.size); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("packed-refs: %w", err)
	}
	return out.Flush()
}

// write writes texts and returns their size. Flush reports an error.
func write(out *bufio.Writer, texts ...string) (size int64) {
	for _, text := range texts {
		n, _ := out.WriteString(text)
		size += int64(n)
	}
	return size
}
