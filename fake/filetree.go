package fake

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
)

// umask is that of a session.
const umask = 0o022

// tree serves the files of a session.
type tree struct{ *Files }

var _ filewire.Tree = tree{}

// locked calls fn with the absolute form of a name.
func (t tree) locked(name string, fn func(name string) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.init()
	return fn(t.at(name))
}

// Open implements [filewire.Tree].
func (t tree) Open(name string, flag filewire.Flag, perm fs.FileMode) (node filewire.Node, err error) {
	if flag&filewire.Create != 0 && t.full != nil && t.full() {
		return nil, syscall.ENOSPC
	}
	err = t.locked(name, func(name string) error {
		n, real, err := t.find(name, flag&filewire.Exclusive == 0)
		switch {
		case errors.Is(err, fs.ErrNotExist) && real != "" && flag&filewire.Create != 0:
			dir, base, err := t.above(real)
			if err != nil {
				return err
			}
			n = &inode{mode: perm.Perm() &^ umask, mtime: time.Now()}
			dir.below[base] = n
			t.note(real, filewire.Created)
		case err != nil:
			return err
		case flag&(filewire.Create|filewire.Exclusive) == filewire.Create|filewire.Exclusive:
			return syscall.EEXIST
		case n.below != nil && flag&(filewire.Write|filewire.Create|filewire.Truncate) != 0:
			return syscall.EISDIR
		case flag&filewire.Read != 0 && n.mode&0o400 == 0, flag&filewire.Write != 0 && n.mode&0o200 == 0:
			return syscall.EACCES
		}
		if flag&filewire.Truncate != 0 && flag&filewire.Write != 0 && len(n.data) > 0 {
			n.data, n.mtime = nil, time.Now()
			t.note(real, filewire.Written)
		}
		node = &openFile{files: t.Files, of: n, name: real, flag: flag}
		return nil
	})
	return node, err
}

func (t tree) stat(name string, follow bool) (info fs.FileInfo, err error) {
	err = t.locked(name, func(name string) error {
		n, _, err := t.find(name, follow)
		if err == nil {
			info = n.info(name)
		}
		return err
	})
	return info, err
}

func (t tree) Stat(name string) (fs.FileInfo, error)  { return t.stat(name, true) }
func (t tree) Lstat(name string) (fs.FileInfo, error) { return t.stat(name, false) }

func (t tree) ReadLink(name string) (target string, err error) {
	err = t.locked(name, func(name string) error {
		n, _, err := t.find(name, false)
		if err == nil && n.mode&fs.ModeSymlink == 0 {
			err = syscall.EINVAL
		}
		if err == nil {
			target = n.target
		}
		return err
	})
	return target, err
}

// add makes a file that is not there yet.
func (t tree) add(name string, n *inode) error {
	return t.locked(name, func(name string) error {
		dir, base, err := t.above(name)
		switch {
		case name == "/" || err == nil && dir.below[base] != nil:
			return syscall.EEXIST
		case err != nil:
			return err
		case len(base) > 255:
			return syscall.ENAMETOOLONG
		}
		if n.mtime.IsZero() {
			n.mtime = time.Now()
		}
		dir.below[base] = n
		t.noteBelow(dir, name, filewire.Created)
		return nil
	})
}

// noteBelow notes a change of a name whose directory may have been reached by links.
func (t tree) noteBelow(_ *inode, name string, change filewire.Change) {
	if _, dir, err := t.find(path.Dir(name), true); err == nil {
		t.note(path.Join(dir, path.Base(name)), change)
	}
}

func (t tree) Mkdir(name string, perm fs.FileMode) error {
	return t.add(name, &inode{mode: fs.ModeDir | perm.Perm()&^umask, below: make(map[string]*inode)})
}

func (t tree) MkdirAll(name string, perm fs.FileMode) error {
	info, err := t.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return syscall.ENOTDIR
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if above := path.Dir(name); above != name {
		if err := t.MkdirAll(above, perm); err != nil {
			return err
		}
	}
	return t.Mkdir(name, perm)
}

func (t tree) Symlink(target, name string) error {
	if target == "" {
		return syscall.ENOENT
	}
	return t.add(name, &inode{mode: fs.ModeSymlink | 0o777, target: target})
}

func (t tree) Link(old, name string) error {
	var n *inode
	err := t.locked(old, func(old string) (err error) {
		if n, _, err = t.find(old, false); err == nil && n.below != nil {
			err = syscall.EPERM
		}
		return err
	})
	if err != nil {
		return err
	}
	return t.add(name, n)
}

func (t tree) Remove(name string) error { return t.remove(name, false) }

func (t tree) RemoveAll(name string) error {
	err := t.remove(name, true)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

func (t tree) remove(name string, all bool) error {
	return t.locked(name, func(name string) error {
		if _, _, err := t.find(name, false); err != nil {
			return err
		}
		dir, base, err := t.above(name)
		if err != nil {
			return err
		}
		if !all && len(dir.below[base].below) > 0 {
			return syscall.ENOTEMPTY
		}
		delete(dir.below, base)
		t.noteBelow(dir, name, filewire.Removed)
		return nil
	})
}

func (t tree) Rename(from, to string) error {
	to = t.at(to)
	return t.locked(from, func(from string) error {
		n, _, err := t.find(from, false)
		if err != nil {
			return err
		}
		source, was, err := t.above(from)
		if err != nil {
			return err
		}
		target, is, err := t.above(to)
		if err != nil {
			return err
		}
		old := target.below[is]
		switch {
		case strings.HasPrefix(to, from+"/"):
			return syscall.EINVAL
		case old == n:
			return nil
		case old != nil && old.below != nil && n.below == nil:
			return syscall.EISDIR
		case old != nil && old.below == nil && n.below != nil:
			return syscall.ENOTDIR
		case old != nil && len(old.below) > 0:
			return syscall.ENOTEMPTY
		}
		delete(source.below, was)
		target.below[is] = n
		t.noteBelow(source, from, filewire.Removed)
		t.noteBelow(target, to, filewire.Created)
		return nil
	})
}

func (t tree) Chmod(name string, mode fs.FileMode) error {
	const changed = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	return t.change(name, func(n *inode) { n.mode = n.mode&^changed | mode&changed })
}

func (t tree) Chtimes(name string, _, mtime time.Time) error {
	return t.change(name, func(n *inode) {
		if !mtime.IsZero() {
			n.mtime = mtime
		}
	})
}

func (t tree) change(name string, change func(*inode)) error {
	return t.locked(name, func(name string) error {
		n, real, err := t.find(name, true)
		if err == nil && (real == "/" || path.Dir(real) == "/") {
			err = syscall.EPERM
		}
		if err == nil {
			change(n)
			t.note(real, filewire.Metadata)
		}
		return err
	})
}

// A watcher is a filewire.Watcher.
type watcher struct {
	files *Files
	top   string // without links
	some  chan struct{}

	// Files.mu protects what follows.
	changed map[string]filewire.Change
	order   []string
	ended   bool
}

const (
	gather     = 50 * time.Millisecond // for which changes are collected
	maxChanged = 8192
)

// Watch implements [filewire.Tree].
func (t tree) Watch(name string) (w filewire.Watcher, err error) {
	err = t.locked(name, func(name string) error {
		_, real, err := t.find(name, true)
		if err != nil {
			return err
		}
		one := &watcher{files: t.Files, top: real, some: make(chan struct{}, 1), changed: make(map[string]filewire.Change)}
		t.watchers = append(t.watchers, one)
		w = one
		return nil
	})
	return w, err
}

// note tells the watchers of a change. The caller holds mu.
func (f *Files) note(name string, change filewire.Change) {
	for _, w := range f.watchers {
		if below, ok := strings.CutPrefix(name, strings.TrimSuffix(w.top, "/")+"/"); ok {
			w.note(below, change)
		} else if name == w.top {
			w.note(".", change)
			w.ended = w.ended || change&filewire.Removed != 0
		} else if strings.HasPrefix(w.top, name+"/") && change&filewire.Removed != 0 {
			w.note(".", filewire.Removed)
			w.ended = true
		}
	}
}

func (w *watcher) note(name string, change filewire.Change) {
	if len(w.order) >= maxChanged {
		clear(w.changed)
		name, change, w.order = "", filewire.Overflow, nil
	}
	if w.changed[name] == 0 {
		w.order = append(w.order, name)
	}
	w.changed[name] |= change
	select {
	case w.some <- struct{}{}:
	default:
	}
}

// Next implements [filewire.Watcher].
func (w *watcher) Next(ctx context.Context) ([]filewire.Event, error) {
	w.files.mu.Lock()
	over := w.ended && len(w.order) == 0
	w.files.mu.Unlock()
	if over {
		return nil, syscall.ENOENT
	}
	select {
	case <-w.some:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := sleep(ctx, gather, nil); err != nil {
		return nil, err
	}
	w.files.mu.Lock()
	defer w.files.mu.Unlock()
	events := make([]filewire.Event, len(w.order))
	for i, name := range w.order {
		events[i] = filewire.Event{Name: name, Change: w.changed[name]}
	}
	clear(w.changed)
	w.order = nil
	return events, nil
}

// Close implements [filewire.Watcher].
func (w *watcher) Close() error {
	w.files.mu.Lock()
	defer w.files.mu.Unlock()
	w.files.watchers = slices.DeleteFunc(w.files.watchers, func(other *watcher) bool { return other == w })
	return nil
}
