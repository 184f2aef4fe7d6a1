package place

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/berth-go/berth/agent/internal/mirror"
)

// TestTrashRemovesInTheBackground: a path is free when Put returns, and in the end nothing is left, not even the directory.
func TestTrashRemovesInTheBackground(t *testing.T) {
	root := t.TempDir()
	removed := &Removed{}
	trash := newTrash(filepath.Join(root, trashName), slog.New(slog.DiscardHandler), removed)
	if err := trash.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	put := func(name string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Join(path, "below", "below"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "below", "file"), []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
		if err := trash.Put(path); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
	put("before")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if trash.Wait(ended) == nil {
		t.Error("Wait returns while something is left")
	}
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { trash.Run(ctx) })
	for range 3 {
		put("same name")
		put("other")
		if err := trash.Put(filepath.Join(root, "missing")); err != nil {
			t.Error(err)
		}
		if err := trash.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
	if got := removed.Usage(); got.Files != 7*4 || got.Bytes < 7*1 { // three directories and a file, seven times
		t.Errorf("%+v were counted as removed, want 28 files", got)
	}
	calls := make(chan string, 2) // what is to come first comes, also if there is nothing to remove
	if err := os.Mkdir(filepath.Join(root, "last"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"last", "missing"} {
		path := filepath.Join(root, name)
		if err := trash.PutAfter(func() { calls <- name }, path); err != nil {
			t.Error(err)
		}
		if got := <-calls; got != name {
			t.Errorf("%s was called for %s", got, name)
		}
	}
	stop()
	run.Wait()
	put("after the end") // the agent's next start removes it
}

// TestRoomIsFreedForACheckout: before a checkout fails because the disk is full, what nobody needs is removed.
func TestRoomIsFreedForACheckout(t *testing.T) {
	root, shrunk := t.TempDir(), 0
	p := &Places{Config: Config{Shrink: func(context.Context) error { shrunk++; return nil }}, Trash: newTrash(filepath.Join(root, trashName), slog.New(slog.DiscardHandler), nil)}
	if err := p.fit(t.Context(), root, mirror.Tree{Bytes: 1, Files: 1}, MinUID); err != nil || shrunk != 0 {
		t.Errorf("with room: %v, %d", err, shrunk)
	}
	if err := os.Mkdir(filepath.Join(root, "gone"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.Trash.Put(filepath.Join(root, "gone")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { p.Trash.Run(ctx) })
	if err := p.fit(t.Context(), root, mirror.Tree{Bytes: 1 << 60}, MinUID); err == nil || shrunk != 1 {
		t.Errorf("without room: %v, %d", err, shrunk)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	stop()
	run.Wait()
}
