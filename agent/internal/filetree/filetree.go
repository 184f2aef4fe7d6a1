// Package filetree is the program that serves the files of a session: see package filewire. It runs in the session's room and under its
// uid, and does what the kernel lets that uid do.
package filetree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/filewire"
)

// idleTime is how long the program waits for a request. Its client asks more often while it has something open, and starts another
// program when it needs one.
const idleTime = 10 * time.Minute

// Main serves the tree of a checkout over in and out, until in ends.
func Main(checkout string, in io.Reader, out io.Writer) error {
	runtime.GOMAXPROCS(2) // the threads are the session's, which may have few
	debug.SetGCPercent(50)
	late := time.AfterFunc(idleTime, func() { os.Exit(0) })
	return filewire.Serve(&heard{in, late}, out, New(checkout))
}

// heard is a reader that is not idle while it is read.
type heard struct {
	r    io.Reader
	late *time.Timer
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.late.Reset(idleTime)
	return n, err
}

// New returns the tree of this machine's files. Names that are relative are those of a checkout.
func New(checkout string) filewire.Tree { return tree{checkout} }

type tree struct{ checkout string }

func (t tree) at(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(t.checkout, name)
}

// Open implements [filewire.Tree]. It neither waits for the other end of a named pipe nor for another program to give up its lease of the
// file.
func (t tree) Open(name string, flag filewire.Flag, perm fs.FileMode) (filewire.Node, error) {
	how := syscall.O_NONBLOCK | syscall.O_NOCTTY
	switch flag & (filewire.Read | filewire.Write) {
	case filewire.Read | filewire.Write:
		how |= os.O_RDWR
	case filewire.Write:
		how |= os.O_WRONLY
	}
	for has, bit := range map[filewire.Flag]int{
		filewire.Append: os.O_APPEND, filewire.Create: os.O_CREATE, filewire.Exclusive: os.O_EXCL, filewire.Truncate: os.O_TRUNC,
	} {
		if flag&has != 0 {
			how |= bit
		}
	}
	f, err := os.OpenFile(t.at(name), how, perm)
	if errors.Is(err, syscall.ENXIO) {
		return nil, filewire.ErrIrregular // a pipe without a reader, or a socket
	}
	if err != nil {
		return nil, err
	}
	if how&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL {
		return node{f, flag&filewire.Append != 0}, nil // it has just made the file
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		err = filewire.ErrIrregular
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return node{f, flag&filewire.Append != 0}, nil
}

type node struct {
	*os.File
	appends bool
}

func (n node) WriteAt(p []byte, off int64) (int, error) {
	if n.appends {
		return n.Write(p)
	}
	return n.File.WriteAt(p, off)
}

// ReadDir implements [filewire.Node].
func (n node) ReadDir(most int) ([]fs.FileInfo, error) {
	some, err := n.Readdir(most)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return some, err
}

func (t tree) Stat(name string) (fs.FileInfo, error)        { return os.Stat(t.at(name)) }
func (t tree) Lstat(name string) (fs.FileInfo, error)       { return os.Lstat(t.at(name)) }
func (t tree) ReadLink(name string) (string, error)         { return os.Readlink(t.at(name)) }
func (t tree) Mkdir(name string, perm fs.FileMode) error    { return os.Mkdir(t.at(name), perm) }
func (t tree) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(t.at(name), perm) }
func (t tree) Remove(name string) error                     { return os.Remove(t.at(name)) }
func (t tree) RemoveAll(name string) error                  { return os.RemoveAll(t.at(name)) }
func (t tree) Rename(from, to string) error                 { return os.Rename(t.at(from), t.at(to)) }
func (t tree) Symlink(target, name string) error            { return os.Symlink(target, t.at(name)) }
func (t tree) Link(old, name string) error                  { return os.Link(t.at(old), t.at(name)) }
func (t tree) Chmod(name string, mode fs.FileMode) error    { return os.Chmod(t.at(name), mode) }

func (t tree) Chtimes(name string, atime, mtime time.Time) error {
	return os.Chtimes(t.at(name), atime, mtime)
}
