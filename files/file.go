package files

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"sync"
	"syscall"

	"github.com/berth-go/berth/agent/filewire"
)

// A File is an open file or directory of a session. All methods are safe for concurrent use; those that move the offset wait for each
// other. Close it: an open file keeps the session from expiring.
type File struct {
	fsys   *FS
	name   string
	handle Handle
	append bool

	mu     sync.Mutex // held while the offset is in use; protects what follows
	offset int64
	ahead  []byte // bytes of the file from offset on

	closing sync.Mutex // protects closed
	closed  bool
}

var (
	_ fs.ReadDirFile     = (*File)(nil)
	_ io.ReadWriteSeeker = (*File)(nil)
	_ io.WriterTo        = (*File)(nil)
	_ io.ReaderFrom      = (*File)(nil)
)

func (f *FS) openFile(name string, flag filewire.Flag, perm fs.FileMode) (*File, error) {
	a, h, err := f.open("open", name, filewire.Request{Op: filewire.OpOpen, Flag: flag, Mode: perm})
	if err != nil {
		return nil, err
	}
	file := &File{fsys: f, name: name, handle: h, append: flag&filewire.Append != 0}
	if len(a.Infos) != 1 {
		file.Close()
		return nil, pathError("open", name, errAnswer)
	}
	return file, nil
}

// Name returns the name with which the file was opened.
func (f *File) Name() string { return f.name }

func (f *File) call(r filewire.Request) (filewire.Answer, error) {
	f.closing.Lock()
	closed := f.closed
	f.closing.Unlock()
	if closed {
		return filewire.Answer{}, fs.ErrClosed
	}
	return f.handle.Call(f.fsys.ctx, &r)
}

// fail names the file in an error, unless it does.
func (f *File) fail(op string, err error) error {
	if _, named := err.(*fs.PathError); named || err == nil || err == io.EOF {
		return err
	}
	return pathError(op, f.name, err)
}

// Stat returns what the file is.
func (f *File) Stat() (fs.FileInfo, error) {
	a, err := f.call(filewire.Request{Op: filewire.OpFstat})
	if err == nil && len(a.Infos) != 1 {
		err = errAnswer
	}
	if err != nil {
		return nil, f.fail("stat", err)
	}
	i := a.Infos[0]
	i.Name = path.Base(f.name)
	return info{i}, nil
}

// fetch reads up to n bytes from an offset on. io.EOF: there are no more behind them.
func (f *File) fetch(off int64, n int) ([]byte, error) {
	a, err := f.call(filewire.Request{Op: filewire.OpRead, Offset: off, Size: n})
	switch {
	case err != nil:
		return nil, err
	case len(a.Data) > n || len(a.Data) == 0 && !a.End:
		return nil, errAnswer
	case a.End:
		err = io.EOF
	}
	return a.Data, err
}

// readAhead is how much is read at once for small reads.
const readAhead = 64 << 10

// Read reads from the file.
func (f *File) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ahead) == 0 && len(p) > 0 {
		b, err := f.fetch(f.offset, min(max(len(p), readAhead), filewire.MaxData))
		if err != nil && (err != io.EOF || len(b) == 0) {
			return 0, f.fail("read", err)
		}
		f.ahead = b
	}
	n := copy(p, f.ahead)
	f.offset += int64(n)
	f.ahead = f.ahead[n:]
	return n, nil
}

// ReaderAt returns the file as what packages such as archive/zip read. Each ReadAt is a round trip or more, whereas Read reads ahead. It does
// not move the offset.
func (f *File) ReaderAt() io.ReaderAt { return readerAt{f} }

type readerAt struct{ *File }

func (f readerAt) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, f.fail("readat", errors.New("negative offset"))
	}
	for n < len(p) && err == nil {
		var b []byte
		b, err = f.fetch(off+int64(n), min(len(p)-n, filewire.MaxData))
		n += copy(p[n:], b)
	}
	if n == len(p) {
		err = nil
	}
	return n, f.fail("read", err)
}

// Seek sets the offset for the next Read or Write.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		i, err := f.Stat()
		if err != nil {
			return 0, f.fail("seek", errors.Unwrap(err))
		}
		offset += i.Size()
	default:
		return 0, f.fail("seek", fs.ErrInvalid)
	}
	if offset < 0 {
		return 0, f.fail("seek", fs.ErrInvalid)
	}
	f.offset, f.ahead = offset, nil
	return offset, nil
}

// Write writes to the file. Unless the error is nil, a part of p may have been written beyond the n bytes that it returns.
func (f *File) Write(p []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead = nil
	for {
		some := p[n:min(n+filewire.MaxData, len(p))]
		if _, err := f.call(filewire.Request{Op: filewire.OpWrite, Offset: f.offset, Data: some}); err != nil {
			return n, f.fail("write", err)
		}
		n += len(some)
		f.offset += int64(len(some))
		if n == len(p) {
			return n, nil
		}
	}
}

// ReadDir returns the next n entries of a directory in any order, or all that are left, at most MaxReadDir, if n <= 0, as [fs.ReadDirFile] has it. With n > 0, it
// needs memory for no more than those, however large the directory is.
func (f *File) ReadDir(n int) (list []fs.DirEntry, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n <= 0 || len(list) < n {
		a, err := f.call(filewire.Request{Op: filewire.OpReadDir, Size: min(max(n-len(list), 0), 1<<16)})
		switch {
		case err != nil:
		case len(a.Infos) == 0 && !a.End || n > 0 && len(list)+len(a.Infos) > n:
			err = errAnswer
		case n <= 0 && len(list)+len(a.Infos) > MaxReadDir:
			err = syscall.EFBIG
		}
		if err != nil {
			return list, f.fail("readdir", err)
		}
		for _, i := range a.Infos {
			if i.Name == "" || i.Name == "." || i.Name == ".." || path.Base(i.Name) != i.Name {
				return list, f.fail("readdir", errAnswer)
			}
			list = append(list, info{i})
		}
		if a.End {
			break
		}
	}
	if n > 0 && len(list) == 0 {
		err = io.EOF
	}
	return list, err
}

// Close closes the file. Its error may be one of what was written before. A second Close returns fs.ErrClosed.
func (f *File) Close() error {
	f.closing.Lock()
	closed := f.closed
	f.closed = true
	f.closing.Unlock()
	if closed {
		return f.fail("close", fs.ErrClosed)
	}
	_, err := f.handle.Call(f.fsys.ctx, &filewire.Request{Op: filewire.OpClose})
	return f.fail("close", err)
}
