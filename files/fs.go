// Package files is the file system of a session, as an [io/fs.FS] that can also be written to. Session.FS of package berth returns it.
//
// # Names
//
// Names are those of package io/fs: relative to the session's checkout, with slashes, without "." and ".." as elements; "." is the checkout
// itself. Unlike io/fs, names need not be UTF-8, since those of files need not. An absolute name is taken if it lies below the session's own
// directory, which holds the checkout, the home and the temporary directory (TMPDIR), or below /tmp, /var/tmp or /dev/shm. [FS.Sub] takes any
// absolute directory, so that all that the session can see can be reached: Sub("/usr/include"), and even Sub("/").
//
// # Rights
//
// A program of the container's agent does the work, in the session's room and under its uid. So the kernel decides: what a command of the
// session can do is possible, and nothing else, wherever symbolic links lead. Files are made with the umask 022. The program starts
// with the first use and ends some time after the last one. It is not one of Session.Commands, but its threads and its memory, a few
// MiB, count as the session's. Each use renews the session's lease, as a command does, and so does an open file, archive or watch for as long as
// it is open.
//
// # Errors
//
// Errors are of the type *[fs.PathError]. Characters of a name that do not show, such as a newline, are escaped in its Path: names may come
// from a repository, and an error is one line. Errors match [fs.ErrNotExist], [fs.ErrExist], [fs.ErrPermission], [fs.ErrInvalid] and the constants of
// package syscall (syscall.ENOSPC: the disk is full). If the session has ended, they match what Session.Err returns; berth.ErrClosed: the
// Provider was closed. berth.ErrUnavailable: the program was killed, which a session can do, or it does not answer; what is open is lost with it,
// an operation that was under way may have had its effect, and the next one starts another program. errors.ErrUnsupported: the container runs
// an agent of an older version. A connection that breaks is made again, and loses nothing.
//
// The context of Session.FS bounds everything: when it ends, calls that are under way return its cause, and files, archives and watches
// that are open fail. An operation that was under way may still have its effect. Nothing ever passes a part off as the whole: a
// stream that was cut off ends with an error that is not io.EOF.
package files

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/filewire"
	"github.com/berth-go/berth/agent/gitremote"
)

// FS is the file system of a session, below one directory. All methods are safe for concurrent use. It is cheap, and holds nothing open.
type FS struct {
	ctx     context.Context
	server  Server
	workdir string // the checkout
	dir     string // what names are relative to: absolute, or relative to the checkout
}

// maxShown bounds a name in an error, in bytes.
const maxShown = 16 << 10

// pathError returns an error whose text is one line, whatever the name is.
func pathError(op, name string, err error) *fs.PathError {
	return &fs.PathError{Op: op, Path: gitremote.Line(name, maxShown), Err: err}
}

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.SubFS      = (*FS)(nil)
	_ fs.GlobFS     = (*FS)(nil)
)

// A Server makes requests to the program that serves the files of a session. Package berth implements it.
type Server interface {
	// Call makes a request that leaves nothing open.
	Call(ctx context.Context, r *filewire.Request) (filewire.Answer, error)
	// Open makes a request that may open something. The Handle is nil if it has not.
	Open(ctx context.Context, r *filewire.Request) (filewire.Answer, Handle, error)
}

// A Handle is something that is open.
type Handle interface {
	// Call makes a request for it. filewire.OpClose ends it.
	Call(ctx context.Context, r *filewire.Request) (filewire.Answer, error)
}

// New returns the file system of a session whose checkout is at workdir. Session.FS calls it.
func New(ctx context.Context, server Server, workdir string) *FS {
	return &FS{ctx: ctx, server: server, workdir: workdir, dir: "."}
}

// shared are directories below which absolute names are taken, too.
var shared = []string{"/tmp", "/var/tmp", "/dev/shm"}

// join returns a name as the program knows it.
func (f *FS) join(name string) (string, error) {
	switch {
	case strings.IndexByte(name, 0) >= 0:
	case path.IsAbs(name):
		own := path.Dir(f.workdir)
		if name == path.Clean(name) && slices.ContainsFunc(append([]string{own}, shared...), func(dir string) bool {
			return len(dir) > 1 && strings.HasPrefix(name, dir+"/")
		}) {
			return name, nil
		}
	case name == "." || name != "" && name == path.Clean(name) && name != ".." && !strings.HasPrefix(name, "../"):
		return path.Join(f.dir, name), nil
	}
	return "", fs.ErrInvalid
}

// call makes a request about one file. The error is nil or a *fs.PathError.
func (f *FS) call(op, name string, r filewire.Request) (filewire.Answer, error) {
	at, err := f.join(name)
	if err == nil {
		var a filewire.Answer
		r.Paths = append([]string{at}, r.Paths...)
		if a, err = f.server.Call(f.ctx, &r); err == nil {
			return a, nil
		}
	}
	return filewire.Answer{}, pathError(op, name, err)
}

// open makes a request that opens something.
func (f *FS) open(op, name string, r filewire.Request) (filewire.Answer, Handle, error) {
	at, err := f.join(name)
	if err == nil {
		var a filewire.Answer
		var h Handle
		r.Paths = append([]string{at}, r.Paths...)
		if a, h, err = f.server.Open(f.ctx, &r); err == nil && h == nil && r.Op != filewire.OpReadFile {
			err = errAnswer
		}
		if err == nil {
			return a, h, nil
		}
	}
	return filewire.Answer{}, nil, pathError(op, name, err)
}

// errAnswer is the error for an answer that makes no sense. The session can replace the program that gives it.
var errAnswer = errors.New("the program that serves the session's files gives a wrong answer")

func (f *FS) info(op, name string, code filewire.Op) (fs.FileInfo, error) {
	a, err := f.call(op, name, filewire.Request{Op: code})
	if err == nil && len(a.Infos) != 1 {
		err = pathError(op, name, errAnswer)
	}
	if err != nil {
		return nil, err
	}
	i := a.Infos[0]
	i.Name = path.Base(name)
	return info{i}, nil
}

// Stat returns what a file is. It follows a symbolic link.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.info("stat", name, filewire.OpStat) }

// Lstat is Stat, but says of a symbolic link what that itself is.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.info("lstat", name, filewire.OpLstat) }

// ReadLink returns where a symbolic link leads, as it has it.
func (f *FS) ReadLink(name string) (string, error) {
	a, err := f.call("readlink", name, filewire.Request{Op: filewire.OpReadLink})
	return string(a.Data), err
}

// Open opens a file for reading: see OpenFile. The result is a *[File].
func (f *FS) Open(name string) (fs.File, error) {
	file, err := f.openFile(name, filewire.Read, 0)
	if err != nil {
		return nil, err // not file: a nil *File in an interface is not nil
	}
	return file, nil
}

// MaxReadFile and MaxReadDir bound what ReadFile and ReadDir hold in the memory of this process, since it is the session that decides how
// large its files and directories are. More is an error that matches syscall.EFBIG. To read it in parts, use Open.
const (
	MaxReadFile = 1 << 30 // bytes
	MaxReadDir  = 1 << 20 // entries
)

// ReadFile returns the content of a file of at most MaxReadFile bytes. One of up to 248 KiB costs one round trip.
func (f *FS) ReadFile(name string) ([]byte, error) {
	a, h, err := f.open("open", name, filewire.Request{Op: filewire.OpReadFile})
	if err != nil || h == nil {
		return a.Data, err
	}
	file := &File{fsys: f, name: name, handle: h}
	defer file.Close()
	if _, err = file.Seek(int64(len(a.Data)), 0); err != nil {
		return nil, err
	}
	content := sink{a.Data}
	if _, err = file.WriteTo(&content); err != nil {
		return nil, file.fail("read", err)
	}
	return content.b, nil
}

type sink struct{ b []byte }

func (s *sink) Write(p []byte) (int, error) {
	if len(s.b)+len(p) > MaxReadFile {
		return 0, syscall.EFBIG
	}
	s.b = append(s.b, p...)
	return len(p), nil
}

// ReadDir returns the entries of a directory, at most MaxReadDir, in the order of their names. To read a large one without holding all of it, use [File.ReadDir].
// An entry knows its Info as it was when the directory was read.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	dir, err := f.openFile(name, filewire.Read, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	list, err := dir.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, err
}

// Glob returns the names that match a pattern, as [fs.Glob] does.
func (f *FS) Glob(pattern string) ([]string, error) {
	return fs.Glob(globbed{f}, pattern)
}

// globbed is a FS without Glob.
type globbed struct{ fsys *FS }

func (g globbed) Open(name string) (fs.File, error)          { return g.fsys.Open(name) }
func (g globbed) Stat(name string) (fs.FileInfo, error)      { return g.fsys.Stat(name) }
func (g globbed) ReadDir(name string) ([]fs.DirEntry, error) { return g.fsys.ReadDir(name) }

// Sub returns the file system below a directory, as a *FS. dir may be any absolute directory. It need not exist yet. Names in the result
// may lead out of the directory by symbolic links, as they may lead out of the checkout.
func (f *FS) Sub(dir string) (fs.FS, error) {
	below := *f
	if path.IsAbs(dir) && dir == path.Clean(dir) && strings.IndexByte(dir, 0) < 0 {
		below.dir = dir
		return &below, nil
	}
	var err error
	if below.dir, err = f.join(dir); err != nil {
		return nil, pathError("sub", dir, err)
	}
	return &below, nil
}

// info is a fs.FileInfo and a fs.DirEntry.
type info struct{ of filewire.Info }

func (i info) Name() string               { return i.of.Name }
func (i info) Size() int64                { return i.of.Size }
func (i info) Mode() fs.FileMode          { return i.of.Mode }
func (i info) Type() fs.FileMode          { return i.of.Mode.Type() }
func (i info) ModTime() time.Time         { return i.of.Mtime }
func (i info) IsDir() bool                { return i.of.Mode.IsDir() }
func (i info) Sys() any                   { return nil }
func (i info) Info() (fs.FileInfo, error) { return i, nil }
func (i info) String() string             { return fs.FormatDirEntry(i) }
