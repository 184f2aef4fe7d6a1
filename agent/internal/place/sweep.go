package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// anyone stands for every uid.
const anyone = -1

// removeAll removes a directory and all below it. What is not there is gone.
func removeAll(parent, name string) error {
	if err := sweep(filepath.Join(parent, name), anyone); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(parent, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sweep removes what a uid owns below a directory. No link is followed. A directory of its that holds what others own
// is given to root.
//
// A task may nest directories deeper than a path can name, or a program hold open. So the walk holds one directory
// at a time, and goes back up by "..". A neighbour that lives may move the directory meanwhile, which then leads
// elsewhere: the walk notices, and begins again.
func sweep(dir string, uid int) error {
	for range 5 {
		w := walk{uid: uid}
		err := w.run(dir)
		if !errors.Is(err, errMoved) {
			return errors.Join(append(w.failed, err)...)
		}
	}
	return fmt.Errorf("%s: %w", dir, errMoved)
}

var errMoved = errors.New("a directory was moved while it was cleared")

// walk is one walk through a tree.
type walk struct {
	uid    int
	failed []error // at most a few: a hostile tree has many names
	levels []level // the directories from the top to the one that is open
}

// level is a directory that the walk is in.
type level struct {
	dev, ino uint64
	name     string   // in the directory above
	doomed   bool     // to be removed when all below it was
	below    []string // directories yet to be visited
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
	if err := w.enter(fd, level{}); err != nil {
		return err
	}
	for {
		here := &w.levels[len(w.levels)-1]
		if n := len(here.below); n > 0 {
			name := here.below[n-1]
			here.below = here.below[:n-1]
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

// enter removes the files of a directory and notes the directories.
func (w *walk) enter(fd int, l level) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return err
	}
	l.dev, l.ino, l.doomed = st.Dev, st.Ino, w.owns(st)
	names, err := list(fd)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := fstatat(fd, name, &st); err != nil {
			continue // gone meanwhile
		}
		if st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
			l.below = append(l.below, name)
		} else if w.owns(st) {
			w.remove(fd, name, false)
		}
	}
	w.levels = append(w.levels, l)
	return nil
}

func (w *walk) owns(st syscall.Stat_t) bool { return w.uid == anyone || int(st.Uid) == w.uid }

func (w *walk) remove(fd int, name string, dir bool) {
	err := unlinkat(fd, name, dir)
	if dir && w.uid != anyone && (errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EBUSY)) {
		err = syscall.Fchownat(fd, name, 0, 0, atSymlinkNoFollow)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && len(w.failed) < 10 {
		w.failed = append(w.failed, fmt.Errorf("removing %q: %w", name, err))
	}
}
