package filetree

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/filewire"
)

const (
	// gather is for how long changes are collected, so that many of one file are one event.
	gather = 50 * time.Millisecond
	// maxChanged is how many files may have changed before events are dropped.
	maxChanged = 8192

	watched = syscall.IN_CREATE | syscall.IN_DELETE | syscall.IN_MODIFY | syscall.IN_MOVED_FROM | syscall.IN_MOVED_TO | syscall.IN_ATTRIB |
		syscall.IN_DELETE_SELF | syscall.IN_MOVE_SELF | syscall.IN_EXCL_UNLINK
)

// watcher watches a file, or a directory and all below it. The kernel watches single directories, so each has a watch of its own.
type watcher struct {
	root  string
	queue *os.File // of the kernel's events
	fd    int
	dirs  map[int32]string // by watch, relative to root
	ended chan struct{}    // closed when no more events come

	mu      sync.Mutex // protects what follows
	changed map[string]filewire.Change
	order   []string      // of changed
	some    chan struct{} // has room for one: something has changed
	err     error         // why there will be no more events
}

// Watch implements [filewire.Tree].
func (t tree) Watch(name string) (filewire.Watcher, error) {
	info, err := os.Stat(t.at(name))
	if err != nil {
		return nil, err
	}
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	w := &watcher{
		root: t.at(name), queue: os.NewFile(uintptr(fd), "inotify"), fd: fd,
		dirs: make(map[int32]string), ended: make(chan struct{}), changed: make(map[string]filewire.Change), some: make(chan struct{}, 1),
	}
	if info.IsDir() {
		err = w.add(".", false)
	} else {
		err = w.addOne(".", 0)
	}
	if err != nil {
		w.queue.Close()
		return nil, err
	}
	go w.run()
	return w, nil
}

// addOne watches one file or directory.
func (w *watcher) addOne(name string, flags uint32) error {
	wd, err := syscall.InotifyAddWatch(w.fd, path.Join(w.root, name), watched|flags)
	if err == syscall.ENOSPC {
		return &filewire.Detail{About: "too many directories to watch (see fs.inotify.max_user_watches)", Err: err}
	}
	if err != nil {
		return os.NewSyscallError("inotify_add_watch", err)
	}
	w.dirs[int32(wd)] = name
	return nil
}

// add watches a directory and all below it. With tell, what is found there is new: it may have been made before the directory was watched.
// Directories that have gone, and those that the session may not read, are left out.
func (w *watcher) add(name string, tell bool) error {
	flags := uint32(syscall.IN_ONLYDIR)
	if name != "." {
		flags |= syscall.IN_DONT_FOLLOW
	}
	err := w.addOne(name, flags)
	if err != nil {
		if name != "." && (isGone(err) || errors.Is(err, fs.ErrPermission)) {
			return nil
		}
		return err
	}
	dir, err := os.Open(path.Join(w.root, name))
	if err != nil {
		return nil
	}
	defer dir.Close()
	for {
		entries, err := dir.ReadDir(256)
		for _, e := range entries {
			below := path.Join(name, e.Name())
			if tell {
				w.note(below, filewire.Created)
			}
			if e.IsDir() {
				if err := w.add(below, tell); err != nil {
					return err
				}
			}
		}
		if err != nil || len(entries) == 0 {
			return nil
		}
	}
}

func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

// note records a change.
func (w *watcher) note(name string, change filewire.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.order) >= maxChanged {
		w.lost()
		return
	}
	if w.changed[name] == 0 {
		w.order = append(w.order, name)
	}
	w.changed[name] |= change
	w.signal()
}

// lost replaces all events by one that says that there were more. The lock is held.
func (w *watcher) lost() {
	clear(w.changed)
	w.changed[""], w.order = filewire.Overflow, []string{""}
	w.signal()
}

func (w *watcher) signal() {
	select {
	case w.some <- struct{}{}:
	default:
	}
}

// run takes the kernel's events until the watcher is closed.
func (w *watcher) run() {
	defer close(w.ended)
	buf := make([]byte, 64<<10)
	for {
		n, err := w.queue.Read(buf)
		for b := buf[:max(n, 0)]; len(b) >= syscall.SizeofInotifyEvent && err == nil; {
			wd := int32(binary.NativeEndian.Uint32(b))
			mask := binary.NativeEndian.Uint32(b[4:])
			size := syscall.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			name, _, _ := bytes.Cut(b[syscall.SizeofInotifyEvent:size], []byte{0})
			err = w.heed(wd, mask, string(name))
			b = b[size:]
		}
		if err != nil {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
			return
		}
	}
}

// errRemoved ends a watcher.
var errRemoved = &fs.PathError{Op: "watch", Path: ".", Err: syscall.ENOENT}

// heed takes one event of the kernel.
func (w *watcher) heed(wd int32, mask uint32, name string) error {
	if mask&syscall.IN_Q_OVERFLOW != 0 {
		w.mu.Lock()
		w.lost()
		w.mu.Unlock()
		if w.dirs = make(map[int32]string); w.isDir() {
			return w.add(".", false) // directories that are not watched yet
		}
		return w.addOne(".", 0)
	}
	dir, known := w.dirs[wd]
	switch {
	case !known:
		return nil
	case mask&syscall.IN_IGNORED != 0:
		delete(w.dirs, wd)
		return nil
	case name == "" && dir != ".":
		return nil // the directory above tells, too
	case name == "" && mask&(syscall.IN_DELETE_SELF|syscall.IN_MOVE_SELF) != 0:
		w.note(".", filewire.Removed)
		return errRemoved
	}
	name = path.Join(dir, name)
	change := filewire.Change(0)
	for bits, means := range map[uint32]filewire.Change{
		syscall.IN_CREATE | syscall.IN_MOVED_TO: filewire.Created, syscall.IN_DELETE | syscall.IN_MOVED_FROM: filewire.Removed,
		syscall.IN_MODIFY: filewire.Written, syscall.IN_ATTRIB: filewire.Metadata,
	} {
		if mask&bits != 0 {
			change |= means
		}
	}
	if change != 0 {
		w.note(name, change)
	}
	switch {
	case mask&syscall.IN_ISDIR == 0:
	case mask&syscall.IN_MOVED_FROM != 0:
		w.drop(name)
	case mask&(syscall.IN_CREATE|syscall.IN_MOVED_TO) != 0:
		return w.add(name, true)
	}
	return nil
}

func (w *watcher) isDir() bool {
	info, err := os.Stat(w.root)
	return err == nil && info.IsDir()
}

// drop ends the watches of a directory that has another name now.
func (w *watcher) drop(name string) {
	for wd, dir := range w.dirs {
		if dir == name || strings.HasPrefix(dir, name+"/") {
			syscall.InotifyRmWatch(w.fd, uint32(wd))
			delete(w.dirs, wd)
		}
	}
}

// Next implements [filewire.Watcher].
func (w *watcher) Next(ctx context.Context) ([]filewire.Event, error) {
	select {
	case <-w.some:
	case <-w.ended:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-time.After(gather):
	case <-w.ended:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.order) == 0 && w.err != nil {
		return nil, w.err
	}
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
	err := w.queue.Close()
	<-w.ended
	return err
}
