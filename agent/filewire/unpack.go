package filewire

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"
	"time"
)

// An unpacking makes the files of a tar archive, which is written to it.
type unpacking struct {
	chunks chan []byte // the archive; closed at its end
	abort  chan struct{}
	done   chan struct{} // closed when err is set
	err    error
	chunk  []byte // the rest of the last one
}

// newUnpacking unpacks into a directory.
func newUnpacking(t Tree, dir string) *unpacking {
	u := &unpacking{chunks: make(chan []byte, 2), abort: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(u.done)
		u.err = unpack(t, dir, tar.NewReader(u))
		if u.err == nil {
			_, u.err = io.Copy(io.Discard, u) // what follows the end of the archive
		}
	}()
	return u
}

// umask is that of a session: what it takes from the mode of a new file is given back.
const umask = 0o022

var errAborted = errors.New("the archive is not whole")

// Read returns the next bytes of the archive.
func (u *unpacking) Read(p []byte) (int, error) {
	for len(u.chunk) == 0 {
		var more bool
		select {
		case u.chunk, more = <-u.chunks:
			if !more {
				return 0, io.EOF
			}
		case <-u.abort:
			return 0, errAborted
		}
	}
	n := copy(p, u.chunk)
	u.chunk = u.chunk[n:]
	return n, nil
}

func (u *unpacking) read(context.Context, *Request) (Answer, error) {
	return Answer{}, syscall.EBADF
}

func (u *unpacking) write(ctx context.Context, r *Request) error {
	select {
	case u.chunks <- r.Data:
		return nil
	case <-u.done:
		return firstOf(u.err, errAborted)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close waits until all files are made. Its client calls it once, after the last write.
func (u *unpacking) close(abort bool) error {
	if abort {
		close(u.abort)
	} else {
		close(u.chunks)
	}
	<-u.done
	return u.err
}

// made is a directory whose mode and time are set when all below it is there.
type made struct {
	name  string
	mode  fs.FileMode
	mtime time.Time
}

// An unpacker makes the files of an archive.
type unpacker struct {
	tree  Tree
	dir   string
	in    *tar.Reader
	known map[string]bool // directories that exist
	buf   []byte
}

func unpack(t Tree, dir string, in *tar.Reader) error {
	u := unpacker{tree: t, dir: dir, in: in, known: map[string]bool{path.Clean(dir): true}, buf: make([]byte, 128<<10)}
	if err := t.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	var dirs []made
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := within(h.Name)
		if err == nil {
			name = path.Join(dir, name)
			err = u.unpack(name, h)
		}
		if err != nil {
			return &Detail{h.Name, bare(err)}
		}
		if h.Typeflag == tar.TypeDir {
			dirs = append(dirs, made{name, h.FileInfo().Mode().Perm(), h.ModTime})
		}
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		d := dirs[i]
		if err := firstOf(t.Chmod(d.name, d.mode), t.Chtimes(d.name, d.mtime, d.mtime)); err != nil {
			return &Detail{d.name, bare(err)}
		}
	}
	return nil
}

// within returns the name of an entry in its clean form. It must not lead out of the directory.
func within(name string) (string, error) {
	clean := path.Clean(name)
	if name == "" || path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("its name leads out of the directory: %w", fs.ErrInvalid)
	}
	return clean, nil
}

// unpack makes one entry. A file that is there is replaced, and not written through: it may be a link.
func (u *unpacker) unpack(name string, h *tar.Header) error {
	t := u.tree
	if above := path.Dir(name); !u.known[above] {
		if err := t.MkdirAll(above, 0o777); err != nil {
			return err
		}
		u.known[above] = true
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.makeDir(name)
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.makeFile(name, h)
	case tar.TypeSymlink:
		return replacing(t, name, func() error { return t.Symlink(h.Linkname, name) })
	case tar.TypeLink:
		old, err := within(h.Linkname)
		if err != nil {
			return err
		}
		return replacing(t, name, func() error { return t.Link(path.Join(u.dir, old), name) })
	}
	return fmt.Errorf("entries of type %q cannot be unpacked: %w", h.Typeflag, fs.ErrInvalid)
}

// makeDir makes a directory that can be filled.
func (u *unpacker) makeDir(name string) error {
	if u.known[name] {
		return nil
	}
	err := u.tree.Mkdir(name, 0o777)
	if errors.Is(err, fs.ErrExist) {
		if info, failed := u.tree.Lstat(name); failed == nil && info.IsDir() {
			err = nil
		} else {
			err = firstOf(u.tree.Remove(name), u.tree.Mkdir(name, 0o777))
		}
	}
	if err == nil {
		u.known[name] = true
	}
	return err
}

func (u *unpacker) makeFile(name string, h *tar.Header) error {
	var n Node
	mode := h.FileInfo().Mode().Perm()
	err := replacing(u.tree, name, func() (err error) {
		n, err = u.tree.Open(name, Write|Create|Exclusive, mode)
		return err
	})
	if err != nil {
		return err
	}
	written, err := io.CopyBuffer(struct{ io.Writer }{io.NewOffsetWriter(n, 0)}, struct{ io.Reader }{u.in}, u.buf)
	if err == nil && written < h.Size {
		err = io.ErrUnexpectedEOF
	}
	if err = firstOf(err, n.Close()); err != nil {
		return err
	}
	if mode&umask != 0 {
		err = u.tree.Chmod(name, mode)
	}
	return firstOf(err, u.tree.Chtimes(name, h.ModTime, h.ModTime))
}

// replacing calls a function that makes a file, again if another file was in its place, which it removes.
func replacing(t Tree, name string, create func() error) error {
	err := create()
	if errors.Is(err, fs.ErrExist) {
		if err = t.Remove(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = create()
		}
	}
	return err
}
