package mirror

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/wire"
)

// A Tree says what a checkout of a commit would take.
type Tree struct {
	Files int64 // and directories and links
	Bytes int64 // of the files
	Depth int64 // the largest number of directories above a file
}

// maxMeasured bounds how many commits' trees are remembered.
const maxMeasured = 1024

// measure counts a commit's tree before any of it is written. A tree that is over a limit is counted no further, and is a
// *git.Error. Each commit is counted once.
func (m *Mirror) measure(ctx context.Context, commit string) (Tree, error) {
	m.mu.Lock()
	tree, known := m.measured[commit]
	m.mu.Unlock()
	if known {
		return tree, m.Limits.checkTree(tree)
	}
	job := m.job("checkout", wire.Fetch{}, nil, "--git-dir="+m.repo, "ls-tree", "-r", "-t", "-l", "-z", "--full-tree", commit)
	job.Output = func(out io.Reader) (err error) {
		tree, err = readTree(out, m.Limits.checkTree)
		return err
	}
	_, err := git.Run(ctx, m.Table, job)
	if err == nil || m.Limits.checkTree(tree) != nil {
		m.mu.Lock()
		if len(m.measured) >= maxMeasured {
			clear(m.measured)
		}
		m.measured[commit] = tree
		m.mu.Unlock()
	}
	return tree, err
}

// checkEvery is after how many entries the limits are looked at.
const checkEvery = 1024

// readTree counts what ls-tree -r -t -l -z prints.
func readTree(out io.Reader, check func(Tree) error) (t Tree, err error) {
	err = ReadEntries(out, func(size, depth int64) error {
		t.Files++
		if t.Bytes += size; t.Bytes < 0 {
			t.Bytes = math.MaxInt64
		}
		deeper := depth > t.Depth
		if t.Depth = max(t.Depth, depth); t.Files%checkEvery == 0 || deeper {
			return check(t)
		}
		return nil
	})
	if err != nil {
		return t, err
	}
	return t, check(t)
}

// ReadEntries calls each for every entry of what ls-tree -l -z prints: mode, type, object and size, separated by blanks; a tab,
// the path, a NUL. size is 0 for a directory and for a submodule, depth is how many directories are above the entry. ReadEntries
// holds no path, however long it is. An error of each ends it.
func ReadEntries(out io.Reader, each func(size, depth int64) error) error {
	r := bufio.NewReaderSize(out, 64<<10)
	for {
		size, err := entrySize(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		depth, err := pathDepth(r)
		if err == nil {
			err = each(size, depth)
		}
		if err != nil {
			return err
		}
	}
}

// entrySize reads an entry as far as its tab, and returns its size: 0 for a directory and for a submodule.
func entrySize(r *bufio.Reader) (int64, error) {
	head, err := r.ReadSlice('\t')
	if err == io.EOF && len(head) > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(head)
	if len(fields) != 4 {
		return 0, fmt.Errorf("git ls-tree printed %.100q", head)
	}
	if size := string(fields[3]); size == "-" || size == "BAD" { // BAD: it is missing, as the checkout will say
		return 0, nil
	}
	return strconv.ParseInt(string(fields[3]), 10, 64)
}

// pathDepth reads a path as far as its NUL, and returns how many slashes it has.
func pathDepth(r *bufio.Reader) (depth int64, err error) {
	for {
		part, err := r.ReadSlice(0)
		depth += int64(bytes.Count(part, []byte("/")))
		if err == nil || !errors.Is(err, bufio.ErrBufferFull) {
			return depth, err
		}
	}
}
