package tree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent/internal/disk"
)

// ready returns the commits whose trees are there.
func (s *stage) ready() (commits []string) {
	for _, name := range s.names() {
		if len(name) == 1 {
			commits = append(commits, name)
		}
	}
	return commits
}

// TestNoTreeIsMadeOnAShortDisk: a tree needs room for itself, for a checkout of the same size, and for what is kept for sessions. Trees
// that no session uses go first.
func TestNoTreeIsMadeOnAShortDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage) {
		used := s.wait("a")
		s.wait("b").Release()
		s.other.Store(disksize - 5*treesize)
		s.wait("c").Release() // there is just room enough, beside a and b
		if got := s.ready(); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Fatalf("there are %v", got)
		}
		s.wait("d").Release() // in the place of b and c
		if got := s.ready(); !slices.Equal(got, []string{"a", "d"}) {
			t.Errorf("there are %v", got)
		}
		s.other.Add(2 * treesize)
		for range 3 {
			if use, err := s.Wait(t.Context(), s.commit("e")); !errors.Is(err, ErrNoRoom) {
				t.Errorf("%v, %v", use, err)
			}
		}
		s.Want(s.commit("e"))
		time.Sleep(wantPause)
		synctest.Wait()
		if got := s.ready(); !slices.Equal(got, []string{"a"}) || s.made.Load() != 4 {
			t.Errorf("there are %v, and %d were begun", got, s.made.Load())
		}
		if _, err := os.Stat(used.Files); err != nil {
			t.Errorf("a tree that is used is gone: %v", err)
		}
		s.other.Store(0)
		s.wait("e").Release() // at once: a full disk is no failure of a commit
	})
}

// TestTreesThatAreBeingMadeHaveTheirRoom: two that begin at once do not take the same room.
func TestTreesThatAreBeingMadeHaveTheirRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage) {
		s.other.Store(disksize - 3*treesize - treesize/2)
		var all sync.WaitGroup
		var refused [2]error
		for n := range refused {
			all.Go(func() { _, refused[n] = s.Wait(t.Context(), s.commit(fmt.Sprint(n))) })
		}
		all.Wait()
		if (refused[0] == nil) == (refused[1] == nil) || !errors.Is(errors.Join(refused[:]...), ErrNoRoom) {
			t.Errorf("they ended with %v", refused)
		}
	})
}

// TestAShortDiskIsRelieved: when sessions fill the disk, unused trees go, and what is being made is given up.
func TestAShortDiskIsRelieved(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage) {
		relieve := func() {
			t.Helper()
			if err := s.Relieve(t.Context()); err != nil {
				t.Error(err)
			}
		}
		used := s.wait("a")
		s.wait("b").Release()
		relieve()
		if got := s.ready(); !slices.Equal(got, []string{"a", "b"}) {
			t.Fatalf("there are %v", got)
		}
		var all sync.WaitGroup
		all.Go(func() {
			if use, err := s.Wait(t.Context(), s.commit("c")); !errors.Is(err, ErrNoRoom) {
				t.Errorf("%v, %v", use, err)
			}
		})
		time.Sleep(work / 2)
		s.other.Store(disksize - 4*treesize + 1)
		relieve() // less is left than what is kept
		all.Wait()
		if got := s.names(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("there are %v", got)
		}
		if _, err := os.Stat(used.Index); err != nil {
			t.Errorf("a tree that is used is gone: %v", err)
		}
	})
}

// TestAFullDiskEndsTheMakingOfATree: the room that it has turned out to lack is looked for among the trees that nobody uses.
func TestAFullDiskEndsTheMakingOfATree(t *testing.T) {
	for _, full := range []error{fmt.Errorf("%w", syscall.ENOSPC), errors.New("git checkout: No space left on device")} {
		inBubble(t, func(t *testing.T, s *stage) {
			s.wait("a").Release()
			s.fails = full
			if use, err := s.Wait(t.Context(), s.commit("b")); !errors.Is(err, full) {
				t.Errorf("%v, %v", use, err)
			}
			if _, err := s.Wait(t.Context(), s.commit("b")); !errors.Is(err, ErrNotNow) {
				t.Errorf("it is tried again at once: %v", err)
			}
			if got := s.names(); len(got) > 0 {
				t.Errorf("there are %v", got)
			}
		})
	}
}

// TestRoomThatIsNotKnown: trees are made and kept.
func TestRoomThatIsNotKnown(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stage) {
		s.Room = func() (r disk.Room, err error) { return r, errors.New("no such call") }
		s.wait("a").Release()
		if err := s.Relieve(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(s.Dir, "a")); err != nil {
			t.Error(err)
		}
	})
}
