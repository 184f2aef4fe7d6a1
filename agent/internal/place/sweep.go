package place

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// anyone means every uid.
const anyone = -1

// removeAll removes a directory and everything below it. A missing directory is no error. removed counts it.
func removeAll(parent, name string, removed *Removed) error {
	if err := sweep(filepath.Join(parent, name), anyone, removed); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(parent, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sweep removes everything that a uid owns below a directory. It follows no links. A directory of the uid that holds files of
// others is given to root.
//
// A task may nest directories deeper than a path can name, and deeper than a program can hold open. So the walk holds one
// directory at a time, and goes up by "..". Another session may move the directory meanwhile, so that ".." leads elsewhere.
// The walk notices that, and begins again.
//
// A task may also make millions of directories. Where all of them are removed, the walk remembers few at a time: it reads on when
// those are gone, and moves a directory that lies too deep to the top.
func sweep(dir string, uid int, removed *Removed) error {
	for range 5 {
		w := walk{uid: uid, counted: removed, buffer: make([]byte, sweepPiece)}
		err := w.run(dir)
		if !errors.Is(err, errMoved) {
			return errors.Join(append(w.failed, err)...)
		}
	}
	return fmt.Errorf("%s: %w", dir, errMoved)
}

var errMoved = errors.New("a directory was moved while it was cleared")

const (
	sweepPiece = 8 << 10 // of a directory, that is read at once
	// maxBelow is from how many directories on no more of a directory is read, and maxDeep how deep a walk goes. Both hold where all is
	// removed.
	maxBelow = 256
	maxDeep  = 256
)

// walk is one walk through a tree.
type walk struct {
	uid     int
	top     int     // the directory that it begins in
	failed  []error // at most a few: a hostile tree has many names
	levels  []level // the directories from the top to the one that is open
	counted *Removed
	removed int // files and directories, also those that were moved to the top
	buffer  []byte
}

// level is a directory that the walk is in.
type level struct {
	dev, ino uint64
	name     string   // in the directory above
	doomed   bool     // to be removed when all below it was
	below    []string // directories yet to be visited
	position int64    // where to read on
	more     bool     // it was not read to its end
	again    bool     // it is to be read once more: it was read in parts, between which it has changed
	before   int      // walk.removed when it was begun to be read
}

func (w *walk) run(dir string) error {
	fd, err := openTop(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { syscall.Close(fd) }()
	if w.top, err = openBelow(fd, "."); err != nil {
		return err
	}
	defer syscall.Close(w.top)
	if err := w.enter(fd, level{}); err != nil {
		return err
	}
	for {
		here := &w.levels[len(w.levels)-1]
		if n := len(here.below); n > 0 {
			name := here.below[n-1]
			here.below = here.below[:n-1]
			if len(w.levels) >= maxDeep && w.raise(fd, name) {
				continue
			}
			child, err := openBelow(fd, name)
			if err != nil { // gone, or no directory any more
				continue
			}
			syscall.Close(fd)
			fd = child
			if err := w.enter(fd, level{name: name}); err != nil {
				return err
			}
			continue
		}
		if unread, err := w.readOn(fd, here); err != nil {
			return err
		} else if unread {
			continue
		}
		done := *here
		if w.levels = w.levels[:len(w.levels)-1]; len(w.levels) == 0 {
			return nil
		}
		up, err := openBelow(fd, "..")
		if err != nil {
			return errMoved
		}
		syscall.Close(fd)
		fd = up
		above := w.levels[len(w.levels)-1]
		var st syscall.Stat_t
		if err := syscall.Fstat(fd, &st); err != nil || st.Dev != above.dev || st.Ino != above.ino {
			return errMoved
		}
		if done.doomed {
			w.remove(fd, done.name, true)
		}
	}
}

// enter begins with a directory.
func (w *walk) enter(fd int, l level) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return err
	}
	l.dev, l.ino, l.doomed, l.before = st.Dev, st.Ino, w.owns(st), w.removed
	if l.doomed {
		w.counted.count(&st)
	}
	if err := w.read(fd, &l); err != nil {
		return err
	}
	w.levels = append(w.levels, l)
	return nil
}

// read removes the files of a directory and notes the directories, from a position on.
func (w *walk) read(fd int, l *level) error {
	var st syscall.Stat_t
	r := reading{fd: fd, position: l.position}
	for l.more = false; !l.more; {
		entries, err := r.next(w.buffer)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			if err := fstatat(fd, e.name, &st); err != nil {
				continue // gone meanwhile
			}
			if st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
				l.below = append(l.below, e.name)
			} else if w.owns(st) {
				w.counted.count(&st)
				w.remove(fd, e.name, false)
			}
		}
		l.more = w.uid == anyone && len(l.below) >= maxBelow
	}
	l.position, l.again = r.position, true
	return nil
}

// readOn reads more of a directory. unread is false if there is no more, or if no part of the rest can be removed.
func (w *walk) readOn(fd int, l *level) (unread bool, err error) {
	switch {
	case l.more:
	case l.again && w.removed > l.before:
		l.position, l.again, l.before = 0, false, w.removed
	default:
		return false, nil
	}
	if _, err := syscall.Seek(fd, l.position, 0); err != nil {
		return false, os.NewSyscallError("lseek", err)
	}
	return true, w.read(fd, l)
}

// raise moves a directory to the top, where the walk finds it when it reads the top again. It reports whether that was possible.
func (w *walk) raise(fd int, name string) bool {
	if w.uid != anyone || renameat(fd, name, w.top, ".berth-"+rand.Text()) != nil {
		return false
	}
	w.removed++
	w.levels[0].again = true
	return true
}

func (w *walk) owns(st syscall.Stat_t) bool { return w.uid == anyone || int(st.Uid) == w.uid }

func (w *walk) remove(fd int, name string, dir bool) {
	err := unlinkat(fd, name, dir)
	if dir && w.uid != anyone && (errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EBUSY)) {
		err = syscall.Fchownat(fd, name, 0, 0, atSymlinkNoFollow)
	}
	if err == nil {
		w.removed++
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && len(w.failed) < 10 {
		w.failed = append(w.failed, fmt.Errorf("removing %q: %w", name, err))
	}
}
