package filewire

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"syscall"
)

// A packing writes files of a tree as a tar archive, which is read from it.
type packing struct {
	pipe *io.PipeReader
	done chan struct{}
}

// newPacking packs what the names below dir name.
func newPacking(t Tree, dir string, names []string) *packing {
	r, w := io.Pipe()
	p := &packing{pipe: r, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		buffered := bufio.NewWriterSize(w, MaxData)
		archive := &archive{tree: t, tar: tar.NewWriter(buffered), buf: make([]byte, 128<<10)}
		var err error
		for _, name := range names {
			if err = archive.add(path.Join(dir, name), path.Clean(name)); err != nil {
				break
			}
		}
		if err == nil {
			err = firstOf(archive.tar.Close(), buffered.Flush())
		}
		w.CloseWithError(err)
	}()
	return p
}

// read returns bytes of the archive. An error is one of the packing: what was read is not whole then.
func (p *packing) read(_ context.Context, r *Request) (a Answer, err error) {
	buf := make([]byte, r.Size)
	n, err := io.ReadFull(p.pipe, buf)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		a.End, err = true, nil
	}
	a.Data = buf[:n]
	return a, err
}

func (p *packing) write(context.Context, *Request) error { return syscall.EBADF }

func (p *packing) close(bool) error {
	p.pipe.Close()
	<-p.done
	return nil
}

// An archive is one that is written.
type archive struct {
	tree Tree
	tar  *tar.Writer
	buf  []byte
}

// add adds a file, and what is below it. Sockets, devices and named pipes are left out.
func (a *archive) add(name, as string) error {
	info, err := a.tree.Lstat(name)
	if err != nil {
		return &Detail{as, bare(err)}
	}
	return a.addOne(name, as, info)
}

func (a *archive) addOne(name, as string, info fs.FileInfo) error {
	target := ""
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return a.addFile(name, as)
	case mode.IsDir():
	case mode&fs.ModeSymlink != 0:
		var err error
		if target, err = a.tree.ReadLink(name); err != nil {
			return &Detail{as, bare(err)}
		}
	default:
		return nil
	}
	if err := a.header(info, as, target); err != nil {
		return err
	}
	if info.IsDir() {
		return a.addBelow(name, as)
	}
	return nil
}

// header writes the header of an entry. It does not tell the owner, who is another one where the archive is unpacked.
func (a *archive) header(info fs.FileInfo, as, target string) error {
	h, err := tar.FileInfoHeader(bareInfo{info}, target)
	if err != nil {
		return &Detail{as, err}
	}
	if h.Name = as; info.IsDir() {
		h.Name += "/"
	}
	h.Format = tar.FormatPAX // for the fractions of seconds, and names of any length
	return a.tar.WriteHeader(h)
}

// bareInfo hides what the operating system says of a file.
type bareInfo struct{ fs.FileInfo }

func (bareInfo) Sys() any { return nil }

func (a *archive) addFile(name, as string) error {
	n, err := a.tree.Open(name, Read, 0)
	if err != nil {
		return &Detail{as, bare(err)}
	}
	defer n.Close()
	info, err := n.Stat()
	if err != nil {
		return &Detail{as, bare(err)}
	}
	if !info.Mode().IsRegular() {
		return &Detail{as, errChanged}
	}
	if err := a.header(info, as, ""); err != nil {
		return err
	}
	copied, err := io.CopyBuffer(struct{ io.Writer }{a.tar}, io.NewSectionReader(n, 0, info.Size()), a.buf)
	if err == nil && copied < info.Size() {
		err = errChanged
	}
	if err != nil {
		return &Detail{as, bare(err)}
	}
	return nil
}

var errChanged = errors.New("the file has changed while it was read")

func (a *archive) addBelow(name, as string) error {
	n, err := a.tree.Open(name, Read, 0)
	if err != nil {
		return &Detail{as, bare(err)}
	}
	defer n.Close()
	for {
		some, err := n.ReadDir(batch)
		if err != nil {
			return &Detail{as, bare(err)}
		}
		if len(some) == 0 {
			return nil
		}
		for _, info := range some {
			err := a.addOne(path.Join(name, info.Name()), path.Join(as, info.Name()), info)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was removed meanwhile
			}
			if err != nil {
				return err
			}
		}
	}
}

// bare returns an error without the path that it names.
func bare(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}
