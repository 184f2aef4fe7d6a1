package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// open opens a store as the user of the test, whom its files then belong to.
func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, os.Getuid())
	must(t, err)
	return s
}

// filled makes a directory "home" with a cache in it that has one file.
func filled(t *testing.T, text string) (top string) {
	t.Helper()
	top = t.TempDir()
	must(t, os.MkdirAll(filepath.Join(top, "go/mod"), 0o755), os.WriteFile(filepath.Join(top, "go/mod/f"), []byte(text), 0o644))
	return top
}

func read(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "f"))
	must(t, err)
	return string(text)
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestALayerIsSwitchedInOneStep: a session keeps the layer that it began with, and the next one has the new one. A layer goes when no
// session uses it, and all but the last go when the agent starts.
func TestALayerIsSwitchedInOneStep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "caches")
	s := open(t, dir)
	if _, _, ok := s.Use("go"); ok || s.Key("go") != "" || s.Size() != 0 {
		t.Error("an empty store has a layer")
	}
	put := func(key, text string) {
		t.Helper()
		if n, err := s.Put("go", key, filled(t, text), "go/mod", 1<<20); err != nil || n != 8192 {
			t.Fatal(n, err)
		}
	}
	put("1", "one")
	first, release, _ := s.Use("go")
	put("2", "two")
	second, releaseSecond, _ := s.Use("go")
	if read(t, first) != "one" || read(t, second) != "two" || s.Key("go") != "2" || s.Size() != 8192 {
		t.Errorf("%q %q %q %d", read(t, first), read(t, second), s.Key("go"), s.Size())
	}
	release()
	release() // counts once
	if _, err := os.Stat(first); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a layer that nobody uses is left: %v", err)
	}
	releaseSecond()
	must(t, os.Mkdir(filepath.Join(dir, "go", "left"), 0o700), os.Mkdir(filepath.Join(dir, "npm"), 0o700))
	s = open(t, dir)
	third, _, ok := s.Use("go")
	if !ok || third != second || s.Key("go") != "2" || len(list(t, filepath.Join(dir, "go"))) != 2 || len(list(t, dir)) != 1 {
		t.Errorf("after a start: %q %v, %q", third, list(t, filepath.Join(dir, "go")), list(t, dir))
	}
	must(t, os.Chmod(dir, 0o755)) // somebody else may have written there
	if s = open(t, dir); s.Key("go") != "" {
		t.Error("a directory that is not root's alone is trusted")
	}
}

// TestWhatAFillMayLeave: no link leads out of a layer, no file of another place comes in, and nobody but the owner may write.
func TestWhatAFillMayLeave(t *testing.T) {
	top, outside := filled(t, "x"), filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(outside, []byte("secret"), 0o600))
	in := func(name string) string { return filepath.Join(top, "go/mod", name) }
	must(t, os.Symlink(outside, in("absolute")), os.Symlink("../../../secret", in("up")), os.Symlink("f", in("good")),
		os.Mkdir(in("d"), 0o777), os.Chmod(in("d"), 0o777), os.Symlink("../f", in("d/good")), os.Symlink("../..", in("d/up")),
		os.Symlink("..", in("d/top")), os.Symlink("d/top/../../secret", in("round")),
		syscall.Mkfifo(in("pipe"), 0o666), os.WriteFile(in("suid"), nil, 0o755), os.Chmod(in("suid"), 0o777|os.ModeSetuid),
		os.WriteFile(in("mute"), nil, 0o000), os.Link(in("f"), in("twin")))
	s := open(t, filepath.Join(t.TempDir(), "caches"))
	_, err := s.Put("go", "1", top, "go/mod", 1<<20)
	must(t, err)
	layer, _, _ := s.Use("go")
	var got []string
	must(t, filepath.WalkDir(layer, func(path string, d fs.DirEntry, err error) error {
		info, infoErr := d.Info()
		must(t, err, infoErr)
		got = append(got, info.Mode().String()+strings.TrimPrefix(path, layer))
		return nil
	}))
	want := []string{"drwxr-xr-x", "drwxr-xr-x/d", "Lrwxrwxrwx/d/good", "Lrwxrwxrwx/d/top", "-rw-r--r--/f", "Lrwxrwxrwx/good", "-r--------/mute", "-rwxr-xr-x/suid", "-rw-r--r--/twin"}
	if !slices.Equal(got, want) {
		t.Errorf("the layer has\n%q, want\n%q", got, want)
	}
}

// TestAWideDirectoryIsReadInPieces: the names of a directory that are held at once are few, however many it has.
func TestAWideDirectoryIsReadInPieces(t *testing.T) {
	wide := func(files int) (top string) {
		top = filled(t, "x")
		for i := range files - 1 {
			must(t, os.Link(filepath.Join(top, "go/mod/f"), filepath.Join(top, fmt.Sprintf("go/mod/%0240d", i))))
		}
		return top
	}
	layer := func() string { return filepath.Join(t.TempDir(), "layer") }
	top, before := wide(8*piece), allocated()
	if _, err := copyTree(layer(), top, "go/mod", os.Getuid(), 2*4096); err == nil || !strings.Contains(err.Error(), "MaxBytes") {
		t.Errorf("got %v", err)
	}
	if got := allocated() - before; got > 1<<20 {
		t.Errorf("%d bytes were allocated before the second file", got)
	}
	const files = 2*piece + 1
	to := layer()
	if n, err := copyTree(to, wide(files), "go/mod", os.Getuid(), 1<<30); err != nil || n != (files+1)*4096 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if got := len(list(t, to)); got != files {
		t.Errorf("%d files were copied", got)
	}
}

// allocated returns the bytes that the program has ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestALayerThatCannotBeMade: the one before it stays, and nothing is left of it.
func TestALayerThatCannotBeMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "caches")
	s := open(t, dir)
	_, err := s.Put("go", "1", filled(t, "one"), "go/mod", 1<<20)
	must(t, err)
	away := t.TempDir()
	must(t, os.Symlink("/", filepath.Join(away, "go")))
	deep := filled(t, "x")
	must(t, os.MkdirAll(filepath.Join(deep, "go/mod", strings.Repeat("d/", maxDepth+2)), 0o755))
	empty := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(empty, "go/mod/d"), 0o755))
	for _, c := range []struct{ top, want string }{
		{filled(t, strings.Repeat("x", 2<<20)), "larger than Cache.MaxBytes"},
		{away, "escapes"}, {deep, "directories in each other"}, {empty, "no file"}, {t.TempDir(), "nothing was filled"},
	} {
		if _, err := s.Put("go", "2", c.top, "go/mod", 1<<20); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	if layer, _, _ := s.Use("go"); s.Key("go") != "1" || read(t, layer) != "one" || len(list(t, filepath.Join(dir, "go"))) != 2 {
		t.Errorf("%q %q", s.Key("go"), list(t, filepath.Join(dir, "go")))
	}
}
