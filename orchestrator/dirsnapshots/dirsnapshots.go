// Package dirsnapshots keeps snapshots in a directory: of this machine, or one of a network that all processes of a pool mount.
//
// A content is written to a file of another name, flushed to the disk, and renamed. So a process that is killed, or a machine that
// loses power, leaves either the whole content or none. Any number of processes on any number of machines may use a directory. Its file
// system must rename a file at once and as a whole, and show that to all of them: every local one does, and NFS from version 4 on.
package dirsnapshots

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/berth-go/berth/internal/snapshots"
	"github.com/berth-go/berth/orchestrator"
)

// Config is the configuration of New.
type Config struct {
	// Dir is a directory for one pool alone. It is made if it is not there, with the rights 0700: snapshots hold the files of all
	// users of the pool.
	Dir string
	// Grace is how long a content without a name is kept, and what a Put that died has left. Default: a day. All processes
	// of the pool need the same. It must be at least an hour, which is longer than a network file system remembers an old list
	// of a directory.
	Grace time.Duration
}

// staged is the directory of files that have no name yet.
const staged = "staged"

// New returns a store of snapshots in a directory.
func New(cfg Config) (orchestrator.SnapshotStore, error) {
	switch {
	case cfg.Dir == "":
		return nil, errors.New("dirsnapshots: Config.Dir is empty")
	case cfg.Grace != 0 && cfg.Grace < time.Hour:
		return nil, fmt.Errorf("dirsnapshots: Config.Grace is %v, and must be at least an hour", cfg.Grace)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("dirsnapshots: %w", err)
	}
	for _, d := range []string{dir, filepath.Join(dir, staged)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("dirsnapshots: %w", err)
		}
	}
	return snapshots.New(bucket{dir}, cfg.Grace), nil
}

// bucket keeps objects as files of a directory.
type bucket struct{ dir string }

func (b bucket) file(name string) string { return filepath.Join(b.dir, filepath.FromSlash(name)) }

// Stage implements [snapshots.Bucket].
func (b bucket) Stage(ctx context.Context) (snapshots.Stage, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	f, err := os.CreateTemp(filepath.Join(b.dir, staged), "*") // with the rights 0600
	if err != nil {
		return nil, err
	}
	return &stage{File: f, bucket: b}, nil
}

// stage is a file that has no name yet.
type stage struct {
	*os.File
	bucket bucket
}

// Store implements [snapshots.Stage].
func (s *stage) Store(ctx context.Context, name string, _ [32]byte) error {
	if err := s.Sync(); err != nil {
		return err
	}
	if err := s.File.Close(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	to := s.bucket.file(name)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Rename(s.Name(), to); err != nil {
		return err
	}
	return syncDirs(s.bucket.dir, filepath.Dir(to))
}

// Close implements [snapshots.Stage].
func (s *stage) Close() error {
	err := s.File.Close()
	if errors.Is(err, fs.ErrClosed) {
		err = nil
	}
	return cmp.Or(err, remove(s.Name()))
}

// syncDirs makes a rename last: in a directory, and for a directory that is new, in those above it.
func syncDirs(top, dir string) error {
	if runtime.GOOS == "windows" { // has no such call
		return nil
	}
	for ; len(dir) >= len(top); dir = filepath.Dir(dir) {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		err = d.Sync()
		if err := cmp.Or(err, d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Write implements [snapshots.Bucket].
func (b bucket) Write(ctx context.Context, name string, content []byte) error {
	s, err := b.Stage(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Write(content); err != nil {
		return err
	}
	return s.Store(ctx, name, [32]byte{})
}

// Read implements [snapshots.Bucket].
func (b bucket) Read(ctx context.Context, name string) (io.ReadCloser, snapshots.Object, error) {
	if ctx.Err() != nil {
		return nil, snapshots.Object{}, context.Cause(ctx)
	}
	f, err := os.Open(b.file(name))
	if err != nil {
		return nil, snapshots.Object{}, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, snapshots.Object{}, err
	}
	return f, object(name, info), nil
}

func object(name string, info fs.FileInfo) snapshots.Object {
	return snapshots.Object{Name: name, Size: info.Size(), Time: info.ModTime()}
}

// Stat implements [snapshots.Bucket].
func (b bucket) Stat(ctx context.Context, name string) (snapshots.Object, error) {
	if ctx.Err() != nil {
		return snapshots.Object{}, context.Cause(ctx)
	}
	info, err := os.Stat(b.file(name))
	if err != nil {
		return snapshots.Object{}, err
	}
	return object(name, info), nil
}

// List implements [snapshots.Bucket]. It reads one directory at a time.
func (b bucket) List(ctx context.Context, prefix string) iter.Seq2[snapshots.Object, error] {
	return func(yield func(snapshots.Object, error) bool) { b.list(ctx, path.Dir(prefix), prefix, yield) }
}

// list yields the files below a directory, and returns false if no more are wanted.
func (b bucket) list(ctx context.Context, dir, prefix string, yield func(snapshots.Object, error) bool) bool {
	fail := func(err error) bool { yield(snapshots.Object{}, err); return false }
	entries, err := os.ReadDir(b.file(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case ctx.Err() != nil:
			return fail(context.Cause(ctx))
		case !strings.HasPrefix(name, prefix):
			continue
		case e.IsDir():
			if !b.list(ctx, name, prefix, yield) {
				return false
			}
			continue
		case !e.Type().IsRegular():
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			continue
		} else if err != nil {
			return fail(err)
		}
		if !yield(object(name, info), nil) {
			return false
		}
	}
	return true
}

// Remove implements [snapshots.Bucket].
func (b bucket) Remove(ctx context.Context, name string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return remove(b.file(name))
}

func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// RemoveStages implements [snapshots.Bucket].
func (b bucket) RemoveStages(ctx context.Context, before time.Time) (n int, err error) {
	for o, err := range b.List(ctx, staged+"/") {
		if err != nil {
			return n, err
		}
		if o.Time.After(before) { // the time of its last Write
			continue
		}
		if err := b.Remove(ctx, o.Name); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
