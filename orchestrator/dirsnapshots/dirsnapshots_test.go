package dirsnapshots_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dirsnapshots"
	"github.com/berth-go/berth/orchestrator/snapshottest"
)

func open(t *testing.T, dir string) orchestrator.SnapshotStore {
	t.Helper()
	store, err := dirsnapshots.New(dirsnapshots.Config{Dir: dir, Grace: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestConformance(t *testing.T) {
	snapshottest.Run(t, snapshottest.Harness{New: newRig})
}

func newRig(t *testing.T) snapshottest.Rig {
	dir := filepath.Join(t.TempDir(), "new", "snapshots")
	change := func(t *testing.T, pattern string, change func([]byte) []byte) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s is %q, %v", pattern, files, err)
		}
		content, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if content = change(content); content == nil {
			err = os.Remove(files[0])
		} else {
			err = os.WriteFile(files[0], content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return snapshottest.Rig{
		Store:    open(t, dir),
		Another:  func(t *testing.T) orchestrator.SnapshotStore { return open(t, dir) },
		Grace:    24 * time.Hour,
		Pass:     func(t *testing.T, d time.Duration) { age(t, dir, d) },
		Contents: func(t *testing.T) int { return count(t, filepath.Join(dir, "blobs", "*")) },
		Uploads:  func(t *testing.T) int { return count(t, filepath.Join(dir, "staged", "*")) },
		ChangeContent: func(t *testing.T, s orchestrator.Snapshot, to func([]byte) []byte) {
			change(t, "blobs/"+strings.TrimPrefix(s.Digest, "sha256:")+".*", to)
		},
		ChangeDescription: func(t *testing.T, name orchestrator.SnapshotName, to func([]byte) []byte) {
			change(t, "names/"+name.String(), to)
		},
		Many:  300,
		Large: 300_000,
	}
}

// age makes every file of a directory older.
func age(t *testing.T, dir string, d time.Duration) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		at := info.ModTime().Add(-d)
		return os.Chtimes(path, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, pattern string) int {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestOnlyTheOwnerReads(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such rights")
	}
	dir := filepath.Join(t.TempDir(), "snapshots")
	store := open(t, dir)
	if _, err := store.Put(t.Context(), orchestrator.SnapshotName{Kind: "layer", Key: "a"}, strings.NewReader("secret")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the rights %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []dirsnapshots.Config{{}, {Dir: file}, {Dir: t.TempDir(), Grace: time.Minute}} {
		if store, err := dirsnapshots.New(cfg); err == nil {
			t.Errorf("%+v gives %v", cfg, store)
		}
	}
}

// writerDir tells the test binary to be a process that stores a snapshot, and is killed halfway.
const writerDir = "BERTH_TEST_SNAPSHOT_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		store, err := dirsnapshots.New(dirsnapshots.Config{Dir: dir})
		if err == nil {
			_, err = store.Put(context.Background(), orchestrator.SnapshotName{Kind: "layer", Key: "a"}, io.TeeReader(os.Stdin, os.Stdout))
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestKilledWriter: what a killed process has written is never seen, and goes with a later Collect.
func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	store, name := open(t, dir), orchestrator.SnapshotName{Kind: "layer", Key: "a"}
	if _, err := store.Put(t.Context(), name, strings.NewReader("before")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	half := bytes.Repeat([]byte("half"), 1<<20)
	go in.Write(half)
	if _, err := io.CopyN(io.Discard, out, int64(len(half))); err != nil { // it has read all of it, and waits for more
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the writer ended with %v", err)
	}
	left := filepath.Join(dir, "staged", "*")
	if n := count(t, left); n != 1 {
		t.Fatalf("a killed writer left %d files", n)
	}
	for _, passes := range []time.Duration{time.Hour, 24 * time.Hour} {
		r, _, err := store.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(got) != "before" {
			t.Fatalf("the name has %d bytes, %v", len(got), err)
		}
		age(t, dir, passes)
		done, err := store.Collect(t.Context())
		if want := int(passes / (24 * time.Hour)); err != nil || done.Uploads != want {
			t.Errorf("%+v, %v; want %d uploads to go", done, err, want)
		}
	}
	if n := count(t, left); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

// TestPutHoldsNoContentInMemory stores and reads 256 MiB, and bounds what that allocates.
func TestPutHoldsNoContentInMemory(t *testing.T) {
	store, name := open(t, t.TempDir()), orchestrator.SnapshotName{Kind: "layer", Key: "a"}
	const size = 256 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := store.Put(t.Context(), name, io.LimitReader(zeros{}, size)); err != nil {
		t.Fatal(err)
	}
	r, _, err := store.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > size/16 {
		t.Errorf("%d bytes were allocated for a content of %d", used, size)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
