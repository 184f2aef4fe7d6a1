package filewire

import (
	"context"
	"io/fs"
	"time"
)

// A Tree is what Serve serves. Names are absolute, or relative to the checkout, and clean. All methods may be called concurrently. Their
// errors are of package syscall or fs, perhaps wrapped.
type Tree interface {
	// Open opens a regular file or a directory. Everything else is ErrIrregular, at once.
	Open(name string, flag Flag, perm fs.FileMode) (Node, error)
	// Stat follows links.
	Stat(name string) (fs.FileInfo, error)
	// Lstat follows none at the end of the name.
	Lstat(name string) (fs.FileInfo, error)
	// ReadLink returns where a symbolic link leads to.
	ReadLink(name string) (string, error)
	// Mkdir makes a directory. perm is subject to the umask.
	Mkdir(name string, perm fs.FileMode) error
	// MkdirAll makes a directory, and those above it that are missing.
	MkdirAll(name string, perm fs.FileMode) error
	// Remove removes a file, a link or an empty directory.
	Remove(name string) error
	// RemoveAll removes a file, or a directory with all below it. It is no error if nothing has the name.
	RemoveAll(name string) error
	// Rename replaces a file that has the new name.
	Rename(from, to string) error
	// Symlink makes a symbolic link. The target may be any text.
	Symlink(target, name string) error
	// Link gives a file one more name.
	Link(old, name string) error
	// Chmod follows links.
	Chmod(name string, mode fs.FileMode) error
	// Chtimes leaves a zero time as it is.
	Chtimes(name string, atime, mtime time.Time) error
	// Watch watches a file, or a directory with all below it.
	Watch(name string) (Watcher, error)
}

// A Node is an open file.
type Node interface {
	// Stat describes the file as it is now.
	Stat() (fs.FileInfo, error)
	// ReadAt is that of io.ReaderAt.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt is that of io.WriterAt. A file that was opened with Append is written at its end.
	WriteAt(p []byte, off int64) (int, error)
	// ReadDir returns up to n entries that were not returned before; none at the end.
	ReadDir(n int) ([]fs.FileInfo, error)
	Close() error
}

// A Watcher watches files.
type Watcher interface {
	// Next waits for changes, and returns what has changed since the last call.
	Next(ctx context.Context) ([]Event, error)
	Close() error
}

// Change says what has happened to a file.
type Change byte

// The changes. One event may have several, of which the order is not known.
const (
	Created  Change = 1 << iota // it was made, or moved to this name
	Written                     // its content has changed
	Removed                     // it was removed, or moved to another name
	Metadata                    // its mode, its owner or its times have changed
	Overflow                    // events were lost: anything may have changed. The event has no name
)

// An Event says what has happened to a file since the last event. Name is relative to what is watched, "." is that itself.
type Event struct {
	Name   string
	Change Change
}
