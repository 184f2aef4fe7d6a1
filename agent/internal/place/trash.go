package place

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// The agent's own directories among those of the sessions. No session has an ID that begins with a dot, and none can enter them.
const (
	TreesName = ".trees" // has the files of commits
	trashName = ".gone"
)

// Trash removes directories in the background, one after another, so that a session does not wait for the removal of many files. It is
// safe for concurrent use.
type Trash struct {
	dir     string // is made when it is needed, and removed when it is empty
	log     *slog.Logger
	removed *Removed

	mu    sync.Mutex // protects what follows
	items []item
	busy  bool // one that is not among the items is being removed
	wake  chan struct{}
	empty chan struct{} // closed while there is nothing to remove
}

// An item is something to remove.
type item struct {
	name  string // in the Trash's directory
	first func() // is called before the removal
}

// newTrash returns a Trash that moves what it removes into dir, which is on the file system of all that it gets. removed counts what it removes.
func newTrash(dir string, log *slog.Logger, removed *Removed) *Trash {
	t := &Trash{dir: dir, log: log, removed: removed, wake: make(chan struct{}, 1), empty: make(chan struct{})}
	close(t.empty)
	return t
}

// Put takes a directory away, and lets Run remove it. Nobody but root reaches it any more by its path. A missing one is no error.
func (t *Trash) Put(path string) error { return t.PutAfter(func() {}, path) }

// PutAfter is Put. Run calls first before it removes the directory. If there is none, PutAfter calls it.
func (t *Trash) PutAfter(first func(), path string) error {
	found, err := t.put(item{rand.Text(), first}, path)
	if err == nil && !found {
		first()
	}
	return err
}

// put reports whether there is something to remove.
func (t *Trash) put(i item, path string) (found bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return false, err
	}
	if err := os.Rename(path, filepath.Join(t.dir, i.name)); err != nil {
		os.Remove(t.dir) // if it is empty
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	if len(t.items) == 0 && !t.busy {
		t.empty = make(chan struct{})
	}
	t.items = append(t.items, i)
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return true, nil
}

// Wait returns when nothing is left to be removed.
func (t *Trash) Wait(ctx context.Context) error {
	t.mu.Lock()
	empty := t.empty
	t.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Run removes until ctx ends.
func (t *Trash) Run(ctx context.Context) {
	for ctx.Err() == nil {
		next, ok := t.next()
		if !ok {
			select {
			case <-t.wake:
			case <-ctx.Done():
			}
			continue
		}
		next.first()
		if err := removeAll(t.dir, next.name, t.removed); err != nil {
			t.log.Error("files of an ended session stay until the agent starts again", "error", err)
		}
		t.mu.Lock()
		t.busy = false
		if len(t.items) == 0 {
			os.Remove(t.dir) // it is made again when it is needed
			close(t.empty)
		}
		t.mu.Unlock()
	}
}

func (t *Trash) next() (first item, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.items) == 0 {
		return item{}, false
	}
	first, t.items = t.items[0], t.items[1:]
	t.busy = true
	return first, true
}
