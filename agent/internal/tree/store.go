// Package tree keeps the files of commits, each as git checks it out, ready for the sessions of a container. A session's checkout is an
// overlay mount: below is the tree of its commit, which is read-only and shared, above is a directory of the session's own.
//
// A tree is a directory, which has the files and an index of git for them. Nothing changes it once it is there. The index knows the
// files by what the kernel says of them, so a tree may be moved, but not be copied.
package tree

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
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

// ErrNotNow says that a tree could not be made a short time ago, and is not tried again yet.
var ErrNotNow = errors.New("tree: it could not be made a short time ago")

// Config configures a Store.
type Config struct {
	// Dir is made when the first tree is. What an earlier Store has left there must be gone.
	Dir string
	// Discard removes a directory of Dir, at once or later. Its name is free when it returns.
	Discard func(dir string) error
	Log     *slog.Logger
}

// A Maker makes the files of a commit and an index for them, at the two paths, which do not exist yet. After an error something may be
// left there.
type Maker func(ctx context.Context, files, index string) error

// A Store has the trees of a container, by the ID of their commit. It is safe for concurrent use.
type Store struct {
	Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	turn   chan struct{} // has a place for each tree that is made at a time
	work   sync.WaitGroup

	mu     sync.Mutex // protects what follows
	closed bool
	clock  int // counts uses
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

// making is a tree that is being made.
type making struct {
	cancel  context.CancelCauseFunc
	done    chan struct{} // closed at its end, when err is set
	err     error
	waiters int // it ends when nobody waits any more
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

// Wait returns the tree of a commit, and makes it if it is not ready. Any number of callers wait for one that is being made. It is not
// finished if all of them have given up. ErrNotNow.
func (s *Store) Wait(ctx context.Context, commit string, maker Maker) (*Use, error) {
	for {
		s.mu.Lock()
		if use := s.take(commit); use != nil {
			s.mu.Unlock()
			return use, nil
		}
		m, err := s.join(commit, maker)
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-m.done:
		case <-ctx.Done():
		}
		s.leave(m)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case m.err != nil && !errors.Is(m.err, errGivenUp):
			return nil, m.err
		}
	}
}

// Want has the tree of a commit made in the background, a moment later, unless it is there. A failure is logged.
func (s *Store) Want(commit string, maker Maker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trees[commit] != nil || s.making[commit] != nil || s.wanted[commit] || s.closed {
		return
	}
	s.wanted[commit] = true
	s.work.Go(func() {
		select {
		case <-time.After(wantPause):
		case <-s.ctx.Done():
		}
		if m := s.joinWanted(commit, maker); m != nil {
			<-m.done
			s.leave(m)
		}
	})
}

// joinWanted does what join does for a call of Want. It returns nil if there is nothing to wait for.
func (s *Store) joinWanted(commit string, maker Maker) *making {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.wanted, commit)
	if s.trees[commit] != nil {
		return nil
	}
	m, err := s.join(commit, maker)
	if err != nil {
		return nil
	}
	return m
}

var (
	errGivenUp = errors.New("tree: nobody waits for it any more")
	errClosed  = errors.New("tree: the agent ends")
)

// join adds a waiter to a tree that is being made, and begins to make it if it is not. The lock is held.
func (s *Store) join(commit string, maker Maker) (*making, error) {
	m := s.making[commit]
	if m == nil {
		if s.closed {
			return nil, errClosed
		}
		if at, ok := s.failed[commit]; ok && time.Since(at) < tryAgain {
			return nil, ErrNotNow
		}
		m = s.begin(commit, maker)
	}
	m.waiters++
	return m, nil
}

func (s *Store) leave(m *making) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.waiters--; m.waiters == 0 {
		m.cancel(errGivenUp)
	}
}

// begin makes a tree aside, and gives it its name when it is whole. The lock is held.
func (s *Store) begin(commit string, maker Maker) *making {
	ctx, cancel := context.WithCancelCause(s.ctx)
	m := &making{cancel: cancel, done: make(chan struct{})}
	s.making[commit] = m
	s.work.Go(func() {
		begun := time.Now()
		err := s.make(ctx, commit, maker)
		if ctx.Err() != nil && err != nil {
			err = context.Cause(ctx)
		}
		s.mu.Lock()
		delete(s.making, commit)
		delete(s.failed, commit)
		m.err = err
		var gone []string
		switch {
		case err == nil:
			t := &tree{commit: commit}
			s.touch(t)
			s.trees[commit] = t
			gone = s.evict(maxUnused)
		case ctx.Err() == nil:
			s.fail(commit)
		}
		close(m.done)
		s.mu.Unlock()
		s.discard(gone)
		switch {
		case err == nil:
			s.Log.Info("the files of a commit are ready for sessions", "commit", commit, "took", time.Since(begun).Round(time.Millisecond))
		case ctx.Err() == nil:
			s.Log.Warn("the files of a commit could not be made ready: each session gets its own", "commit", commit, "error", err)
		}
		cancel(nil)
	})
	return m
}

func (s *Store) make(ctx context.Context, commit string, maker Maker) (err error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	aside := filepath.Join(s.Dir, "new-"+rand.Text())
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	if err := maker(ctx, filepath.Join(aside, filesName), filepath.Join(aside, indexName)); err != nil {
		return errors.Join(err, s.Discard(aside))
	}
	return os.Rename(aside, filepath.Join(s.Dir, commit))
}

// fail remembers that a tree could not be made. The lock is held.
func (s *Store) fail(commit string) {
	const most = 1000
	if len(s.failed) >= most {
		clear(s.failed)
	}
	s.failed[commit] = time.Now()
}

// Shrink removes the trees that no session uses, and reports whether there was one.
func (s *Store) Shrink() bool {
	s.mu.Lock()
	gone := s.evict(0)
	s.mu.Unlock()
	s.discard(gone)
	return len(gone) > 0
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
