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
	dir string // is made when it is needed, and removed when it is empty
	log *slog.Logger

	mu    sync.Mutex // protects what follows
	names []string   // in dir
	busy  bool       // one that is not in names is being removed
	wake  chan struct{}
	empty chan struct{} // closed while there is nothing to remove
}

// newTrash returns a Trash that moves what it removes into dir, which is on the file system of all that it gets.
func newTrash(dir string, log *slog.Logger) *Trash {
	t := &Trash{dir: dir, log: log, wake: make(chan struct{}, 1), empty: make(chan struct{})}
	close(t.empty)
	return t
}

// Put takes a directory away, and lets Run remove it. Nobody but root reaches it any more by its path. A missing one is no error.
func (t *Trash) Put(path string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return err
	}
	name := rand.Text()
	if err := os.Rename(path, filepath.Join(t.dir, name)); err != nil {
		os.Remove(t.dir) // if it is empty
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if len(t.names) == 0 && !t.busy {
		t.empty = make(chan struct{})
	}
	t.names = append(t.names, name)
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return nil
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
		name, ok := t.next()
		if !ok {
			select {
			case <-t.wake:
			case <-ctx.Done():
			}
			continue
		}
		if err := removeAll(t.dir, name); err != nil {
			t.log.Error("files of an ended session stay until the agent starts again", "error", err)
		}
		t.mu.Lock()
		t.busy = false
		if len(t.names) == 0 {
			os.Remove(t.dir) // it is made again when it is needed
			close(t.empty)
		}
		t.mu.Unlock()
	}
}

func (t *Trash) next() (name string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.names) == 0 {
		return "", false
	}
	name, t.names = t.names[0], t.names[1:]
	t.busy = true
	return name, true
}
