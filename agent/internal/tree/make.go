package tree

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Why there is no tree.
var (
	// ErrNotNow says that a tree could not be made a short time ago, and is not tried again yet.
	ErrNotNow = errors.New("tree: it could not be made a short time ago")
	// ErrNoRoom says that a tree would take room on the disk that sessions need.
	ErrNoRoom = errors.New("tree: the disk has no room to spare")

	errGivenUp = errors.New("tree: nobody waits for it any more")
	errClosed  = errors.New("tree: the agent ends")
)

// A Commit is what a tree is made of.
type Commit struct {
	ID           string
	Bytes, Files int64 // what its files and directories take on the disk
	// Make makes the files, and an index for them, at two paths that do not exist yet. After an error something may be left there.
	Make func(ctx context.Context, files, index string) error
}

// making is a tree that is being made.
type making struct {
	Commit
	cancel  context.CancelCauseFunc
	done    chan struct{} // closed at its end, when err is set
	err     error
	waiters int  // it ends when nobody waits any more
	writing bool // it has been found that there is room for it
}

// Wait returns the tree of a commit, and makes it if it is not ready. Any number of callers wait for one that is being made. It is not
// finished if all of them have given up. ErrNotNow, ErrNoRoom.
func (s *Store) Wait(ctx context.Context, c Commit) (*Use, error) {
	for {
		s.mu.Lock()
		if use := s.take(c.ID); use != nil {
			s.mu.Unlock()
			return use, nil
		}
		m, err := s.join(c)
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
func (s *Store) Want(c Commit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trees[c.ID] != nil || s.making[c.ID] != nil || s.wanted[c.ID] || s.closed {
		return
	}
	s.wanted[c.ID] = true
	s.work.Go(func() {
		select {
		case <-time.After(wantPause):
		case <-s.ctx.Done():
		}
		if m := s.joinWanted(c); m != nil {
			<-m.done
			s.leave(m)
		}
	})
}

// joinWanted does what join does for a call of Want. It returns nil if there is nothing to wait for.
func (s *Store) joinWanted(c Commit) *making {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.wanted, c.ID)
	if s.trees[c.ID] != nil {
		return nil
	}
	m, err := s.join(c)
	if err != nil {
		return nil
	}
	return m
}

// join adds a waiter to a tree that is being made, and begins to make it if it is not. The lock is held.
func (s *Store) join(c Commit) (*making, error) {
	m := s.making[c.ID]
	if m == nil {
		if s.closed {
			return nil, errClosed
		}
		if at, ok := s.failed[c.ID]; ok && time.Since(at) < tryAgain {
			return nil, ErrNotNow
		}
		m = s.begin(c)
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
func (s *Store) begin(c Commit) *making {
	ctx, cancel := context.WithCancelCause(s.ctx)
	m := &making{Commit: c, cancel: cancel, done: make(chan struct{})}
	s.making[c.ID] = m
	s.work.Go(func() {
		begun := time.Now()
		err := s.make(ctx, m)
		if ctx.Err() != nil && err != nil {
			err = context.Cause(ctx)
		}
		s.mu.Lock()
		first := s.end(m, err, ctx.Err() != nil)
		keep := maxUnused
		if full(err) {
			keep = 0
		}
		gone := s.evict(keep)
		s.mu.Unlock()
		s.discard(gone)
		close(m.done)
		switch {
		case err == nil:
			s.Log.Info("the files of a commit are ready for sessions", "commit", c.ID, "took", time.Since(begun).Round(time.Millisecond))
		case errors.Is(err, ErrNoRoom) && first:
			s.Log.Warn("the disk is short, so the files of commits are not made ready: each session gets its own", "commit", c.ID)
		case ctx.Err() == nil && !errors.Is(err, ErrNoRoom):
			s.Log.Warn("the files of a commit could not be made ready: each session gets its own", "commit", c.ID, "error", err)
		}
		cancel(nil)
	})
	return m
}

// end records how the making of a tree has ended, and reports whether it is the first for which there was no room. The lock is held.
func (s *Store) end(m *making, err error, canceled bool) (first bool) {
	m.err = err
	delete(s.making, m.ID)
	delete(s.failed, m.ID)
	switch {
	case err == nil:
		t := &tree{commit: m.ID}
		s.touch(t)
		s.trees[m.ID] = t
		s.short = false
	case errors.Is(err, ErrNoRoom):
		first, s.short = !s.short, true
	case !canceled:
		s.fail(m.ID)
	}
	return first
}

// full reports whether an error says that the disk is full. Git says so in words.
func full(err error) bool {
	return err != nil && (errors.Is(err, syscall.ENOSPC) || strings.Contains(strings.ToLower(err.Error()), "no space left on device"))
}

func (s *Store) make(ctx context.Context, m *making) (err error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := s.fit(ctx, m); err != nil {
		return err
	}
	aside := filepath.Join(s.Dir, "new-"+rand.Text())
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	if err := m.Make(ctx, filepath.Join(aside, filesName), filepath.Join(aside, indexName)); err != nil {
		return errors.Join(err, s.Discard(aside))
	}
	return os.Rename(aside, filepath.Join(s.Dir, m.ID))
}

// fit returns ErrNoRoom if there is no room for a tree, also without those that no session uses.
func (s *Store) fit(ctx context.Context, m *making) error {
	if s.reserve(m) {
		return nil
	}
	s.mu.Lock()
	gone := s.evict(0)
	s.mu.Unlock()
	s.discard(gone)
	if err := s.Discarded(ctx); err != nil {
		return err
	}
	if s.reserve(m) {
		return nil
	}
	return ErrNoRoom
}

// maxBytes is more than any disk has, and can be added up.
const maxBytes = 1 << 58

// reserve reports whether there is room for a tree and for those that are being written. What is kept for the work of sessions stays
// free, and as much again as the tree takes: a session may need files of its own, which git writes.
func (s *Store) reserve(m *making) bool {
	left, err := s.Room()
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes, files := 2*min(m.Bytes, maxBytes), 2*min(m.Files, maxBytes)
	for _, other := range s.making {
		if other.writing {
			bytes, files = bytes+other.Bytes, files+other.Files
		}
	}
	m.writing = err != nil || left.Spares(bytes, files)
	return m.writing
}

// fail remembers that a tree could not be made. The lock is held.
func (s *Store) fail(commit string) {
	const most = 1000
	if len(s.failed) >= most {
		clear(s.failed)
	}
	s.failed[commit] = time.Now()
}
