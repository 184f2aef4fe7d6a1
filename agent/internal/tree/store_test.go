package tree

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent/internal/disk"
)

// stage is a Store whose trees take a minute to make, and a tenth of a disk each. The disk keeps a tenth for sessions.
type stage struct {
	*Store
	t     *testing.T
	made  atomic.Int64
	fails error
	other atomic.Int64 // what others have on the disk
}

const (
	disksize = 1000
	treesize = disksize / 10
)

func newStage(t *testing.T, dir string) *stage {
	s := &stage{t: t}
	s.Store = Open(Config{
		Dir: dir, Discard: os.RemoveAll, Discarded: func(context.Context) error { return nil }, Room: s.room, Log: slog.New(slog.DiscardHandler),
	})
	return s
}

// room counts what is in the directory of the trees.
func (s *stage) room() (disk.Room, error) {
	return disk.Room{Bytes: disksize - s.other.Load() - treesize*int64(len(s.names())), Kept: disksize / 10}, nil
}

func (s *stage) commit(id string) Commit {
	return Commit{ID: id, Bytes: treesize, Files: 1, Make: s.maker}
}

const work = time.Minute

func (s *stage) maker(ctx context.Context, files, index string) error {
	s.made.Add(1)
	if err := os.Mkdir(files, 0o755); err != nil {
		return err
	}
	select {
	case <-time.After(work):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.fails != nil {
		return s.fails
	}
	return os.WriteFile(index, nil, 0o644)
}

func (s *stage) wait(commit string) *Use {
	s.t.Helper()
	use, err := s.Wait(context.Background(), s.commit(commit))
	if err != nil {
		s.t.Fatal(err)
	}
	return use
}

// names returns what is in the directory of the trees.
func (s *stage) names() (names []string) {
	all, err := filepath.Glob(filepath.Join(s.Dir, "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range all {
		names = append(names, filepath.Base(name))
	}
	return names
}

// inBubble runs a test in virtual time. It closes the Store, and checks that nothing aside is left.
func inBubble(t *testing.T, test func(t *testing.T, s *stage)) {
	dir := filepath.Join(t.TempDir(), "trees")
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, dir)
		test(t, s)
		s.Close()
		for _, name := range s.names() {
			if len(name) > 3 {
				t.Errorf("%s is left", name)
			}
		}
	})
}

func TestATreeIsMadeOnceForAllWhoWait(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage) {
		if s.Take("a") != nil {
			t.Error("it is there before it was made")
		}
		var all sync.WaitGroup
		begun := time.Now()
		for range 20 {
			all.Go(func() { s.wait("a").Release() })
		}
		time.Sleep(work - 1)
		synctest.Wait()
		if s.Take("a") != nil {
			t.Error("it is there before it is whole")
		}
		all.Wait()
		if took := time.Since(begun); took != work || s.made.Load() != 1 {
			t.Errorf("%d were made, in %v", s.made.Load(), took)
		}
		use := s.Take("a")
		if use == nil {
			t.Fatal("it is not there")
		}
		if _, err := os.Stat(use.Index); err != nil || filepath.Dir(use.Files) != filepath.Dir(use.Index) {
			t.Error(err, use)
		}
	})
}

func TestATreeInTheBackground(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage) {
		s.Want(s.commit("a"))
		s.Want(s.commit("a"))
		time.Sleep(wantPause + work + 1)
		s.Want(s.commit("a"))
		synctest.Wait()
		if use := s.Take("a"); use == nil || s.made.Load() != 1 {
			t.Errorf("%v, and %d were made", use, s.made.Load())
		}
	})
}

func TestUnusedTreesGo(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage) {
		used := s.wait("a")
		for _, commit := range []string{"b", "c", "d"} {
			s.wait(commit).Release()
		}
		if s.Take("b") != nil { // c and d were used later, and a still is
			t.Error("the one that was used least recently is there")
		}
		s.Take("c").Release()
		s.wait("e").Release()
		if s.Take("d") != nil || s.Take("c") == nil {
			t.Error("a use does not count")
		}
		if _, err := os.Stat(used.Files); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := s.Shrink(t.Context()); err != nil {
				t.Error(err)
			}
		}
		used.Release()
		used.Release()
		synctest.Wait()                      // for those that are being discarded
		if got := s.names(); len(got) != 2 { // a, and c, which is in use
			t.Errorf("there are %v", got)
		}
	})
}

func TestATreeThatCannotBeMade(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage) {
		s.fails = errors.New("the disk is full")
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if use, err := s.Wait(t.Context(), s.commit("a")); !errors.Is(err, s.fails) {
					t.Error(use, err)
				}
			})
		}
		all.Wait()
		if use, err := s.Wait(t.Context(), s.commit("a")); !errors.Is(err, ErrNotNow) {
			t.Error(use, err)
		}
		s.Want(s.commit("a"))
		time.Sleep(wantPause)
		synctest.Wait()
		if s.made.Load() != 1 || len(s.names()) != 0 {
			t.Errorf("it was tried %d times; there are %v", s.made.Load(), s.names())
		}
		s.fails = nil
		time.Sleep(tryAgain)
		s.wait("a").Release()
	})
}

// TestATreeThatNobodyWaitsForIsGivenUp: the making ends. A session that comes meanwhile gets another tree.
func TestATreeThatNobodyWaitsForIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithTimeout(t.Context(), work/2)
		defer cancel()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := s.Wait(ctx, s.commit("a")); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		begun := time.Now()
		s.wait("a").Release()
		if took := time.Since(begun); took != work {
			t.Errorf("another one took %v", took)
		}
		other, stop := context.WithTimeout(t.Context(), work/2)
		defer stop()
		all.Go(func() { s.Wait(other, s.commit("b")) })
		all.Go(func() { s.wait("b").Release() }) // who still waits gets it
		all.Wait()
		if s.made.Load() != 3 {
			t.Errorf("%d were begun", s.made.Load())
		}
	})
}

func TestCloseEndsWhatIsBeingMade(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage) {
		s.Want(s.commit("a"))
		time.Sleep(wantPause + work/2)
		s.Close()
		if use, err := s.Wait(t.Context(), s.commit("a")); err == nil {
			t.Errorf("after Close: %v", use)
		}
		if len(s.names()) != 0 {
			t.Errorf("there are %v", s.names())
		}
	})
}
