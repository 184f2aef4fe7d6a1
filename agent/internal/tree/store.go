// Package tree keeps the files of commits, each as git checks it out, ready for the sessions of a container. A session's checkout is an
// overlay mount: below is the tree of its commit, which is read-only and shared, above is a directory of the session's own.
//
// A tree is a directory, which has the files and an index of git for them. Nothing changes it once it is there. The index knows the
// files by what the kernel says of them, so a tree may be moved, but not be copied.
package tree

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/disk"
)

const (
	// maxUnused is how many trees stay that no session uses: those that were used last.
	maxUnused = 2
	// wantPause is how long Want waits: the session that has just been opened begins its work in that time.
	wantPause = time.Second
	// tryAgain is after how long a tree that could not be made is tried again.
	tryAgain = 10 * time.Minute
)

// The names in a tree's directory.
const (
	filesName = "files"
	indexName = "index"
)

// Config configures a Store.
type Config struct {
	// Dir is made when the first tree is. What an earlier Store has left there must be gone.
	Dir string
	// Discard removes a directory of Dir, at once or later. Its name is free when it returns.
	Discard func(dir string) error
	// Discarded waits for the removal of all that was discarded.
	Discarded func(ctx context.Context) error
	// Room returns what is left of the disk that Dir is on.
	Room func() (disk.Room, error)
	Log  *slog.Logger
}

// A Store has the trees of a container, by the ID of their commit. It is safe for concurrent use.
type Store struct {
	Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	turn   chan struct{} // has a place for each tree that is made at a time
	work   sync.WaitGroup

	mu     sync.Mutex // protects what follows
	closed bool
	clock  int  // counts uses
	short  bool // the disk had no room for the last tree that was to be made
	trees  map[string]*tree
	wanted map[string]bool // calls of Want that wait
	making map[string]*making
	failed map[string]time.Time
}

// A tree is one that is ready.
type tree struct {
	commit string
	uses   int
	used   int // clock, when it was used last
}

// Open returns a Store without trees.
func Open(c Config) *Store {
	s := &Store{
		Config: c, turn: make(chan struct{}, max(2, runtime.NumCPU()/2)),
		trees: make(map[string]*tree), wanted: make(map[string]bool), making: make(map[string]*making), failed: make(map[string]time.Time),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close ends what is being made, and returns when it has ended.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	s.cancel()
	s.mu.Unlock()
	s.work.Wait()
}

// A Use is a tree that somebody uses. It stays until Release is called.
type Use struct {
	Files   string // the directory with the files
	Index   string // the index for them
	Release func() // may be called more than once
}

// Take returns the tree of a commit, or nil if it is not ready.
func (s *Store) Take(commit string) *Use {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(commit)
}

func (s *Store) take(commit string) *Use {
	t := s.trees[commit]
	if t == nil {
		return nil
	}
	t.uses++
	s.touch(t)
	dir := filepath.Join(s.Dir, commit)
	return &Use{
		Files: filepath.Join(dir, filesName), Index: filepath.Join(dir, indexName),
		Release: sync.OnceFunc(func() { s.release(t) }),
	}
}

// touch makes a tree the one that was used last. The lock is held.
func (s *Store) touch(t *tree) {
	s.clock++
	t.used = s.clock
}

func (s *Store) release(t *tree) {
	s.mu.Lock()
	t.uses--
	s.touch(t)
	gone := s.evict(maxUnused)
	s.mu.Unlock()
	s.discard(gone)
}

// Shrink takes the trees away that no session uses, and ends the making of others: the disk is short. It returns when nothing is being
// made that was when it was called. A Maker must not call it.
func (s *Store) Shrink(ctx context.Context) error {
	s.mu.Lock()
	gone := s.evict(0)
	var ends []<-chan struct{}
	for _, m := range s.making {
		m.cancel(ErrNoRoom)
		ends = append(ends, m.done)
	}
	s.mu.Unlock()
	s.discard(gone)
	for _, end := range ends {
		select {
		case <-end:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Relieve does what Shrink does, if the disk is short: it has no more left than what is kept for the work of sessions.
func (s *Store) Relieve(ctx context.Context) error {
	s.mu.Lock()
	idle := len(s.trees) == 0 && len(s.making) == 0
	s.mu.Unlock()
	if idle {
		return nil
	}
	if left, err := s.Room(); err != nil || left.Spares(0, 0) {
		return nil
	}
	return s.Shrink(ctx)
}

// evict takes the trees away that are not used, but for some that were used last. The lock is held. Their directories get other names
// before the lock is let go: the same tree may be made again at once.
func (s *Store) evict(keep int) (gone []string) {
	for {
		var oldest *tree
		unused := 0
		for _, t := range s.trees {
			if t.uses > 0 {
				continue
			}
			if unused++; oldest == nil || t.used < oldest.used {
				oldest = t
			}
		}
		if unused <= keep {
			return gone
		}
		delete(s.trees, oldest.commit)
		old := filepath.Join(s.Dir, "old-"+rand.Text())
		if err := os.Rename(filepath.Join(s.Dir, oldest.commit), old); err != nil {
			s.Log.Error("the files of a commit that nobody uses cannot be removed", "commit", oldest.commit, "error", err)
			continue
		}
		gone = append(gone, old)
	}
}

func (s *Store) discard(dirs []string) {
	for _, dir := range dirs {
		if err := s.Discard(dir); err != nil {
			s.Log.Error("the files of a commit that nobody uses cannot be removed", "error", err)
		}
	}
}
