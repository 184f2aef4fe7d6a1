package mirror

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/wire"
)

// A File is a file of a commit.
type File struct{ Path, ID string }

// Files returns the files of a commit whose paths match, sorted as git does it.
func (m *Mirror) Files(ctx context.Context, commit string, match func(path string) bool) (files []File, err error) {
	job := m.job("ls-tree", wire.Fetch{}, nil, "--git-dir="+m.repo, "ls-tree", "-r", "-z", "--full-tree", commit)
	job.Output = func(out io.Reader) (err error) {
		files, err = readFiles(out, match)
		return err
	}
	_, err = git.Run(ctx, m.Table, job)
	return files, err
}

// maxFilesFound bounds what Files returns.
const maxFilesFound = 10_000

// readFiles reads what ls-tree -r -z prints. It holds no path that is longer than its buffer: such a path does not match.
func readFiles(out io.Reader, match func(path string) bool) (files []File, err error) {
	r := bufio.NewReaderSize(out, 64<<10)
	for {
		entry, err := r.ReadSlice(0)
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice(0)
		}
		if err == io.EOF && len(entry) == 0 {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if long {
			continue
		}
		head, path, _ := bytes.Cut(entry[:len(entry)-1], []byte("\t"))
		fields := bytes.Fields(head)
		if len(fields) != 3 {
			return nil, fmt.Errorf("git ls-tree printed %.100q", entry)
		}
		if string(fields[1]) != "blob" || !match(string(path)) {
			continue
		}
		if files = append(files, File{string(path), string(fields[2])}); len(files) > maxFilesFound {
			return nil, fmt.Errorf("more than %d files match", maxFilesFound)
		}
	}
}
