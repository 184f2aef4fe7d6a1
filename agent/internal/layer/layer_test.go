package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-go/berth/internal/test/need"
)

// tree describes every file below a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	inodes := make(map[uint64]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		st := info.Sys().(*syscall.Stat_t)
		what := fmt.Sprintf("%v %v", info.Mode(), info.ModTime().UTC())
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %q", content)
			if st.Nlink > 1 && inodes[st.Ino] != "" {
				what += " = " + inodes[st.Ino]
			}
			inodes[st.Ino] = rel
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			what += " -> " + target
		case info.Mode()&fs.ModeDevice != 0:
			what = fmt.Sprintf("%v %d", info.Mode().Type(), st.Rdev) // an overlay does not look at the rest
		}
		if info.Mode().IsRegular() || info.IsDir() {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			attributes, err := xattrs(int(f.Fd()), make([]byte, maxXattr))
			if err != nil {
				return err
			}
			for _, name := range slices.Sorted(maps.Keys(attributes)) {
				what += fmt.Sprintf(" %s=%q", name, attributes[name])
			}
		}
		found[rel] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func setAttribute(t *testing.T, path, name, value string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	must(t, setXattr(int(f.Fd()), name, value))
}

// sample makes a tree with everything that is kept.
func sample(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t,
		os.MkdirAll(in("a/b/c"), 0o755),
		os.WriteFile(in("a/file"), []byte("content"), 0o640),
		os.WriteFile(in("a/run"), bytes.Repeat([]byte("#!/bin/sh\n"), 40_000), 0o755),
		os.WriteFile(in("a/b/read only"), nil, 0o400),
		os.Link(in("a/file"), in("a/b/again")),
		os.Symlink("../a/file", in("a/link")),
		os.Symlink("/etc/passwd", in("out")),
		os.Symlink("nowhere", in("dangling")),
		os.Mkdir(in("empty"), 0o700),
		os.Mkdir(in("private"), 0o755),
		os.WriteFile(in("private/file"), []byte("x"), 0o600),
		os.WriteFile(in(strings.Repeat("n", maxName)), []byte("long"), 0o600),
		os.WriteFile(in("ünïcode\n"), []byte("newline"), 0o600),
		os.Chmod(in("empty"), 0o777|fs.ModeSticky),
	)
	setAttribute(t, in("a/file"), "user.note", "kept\x00as it is")
	setAttribute(t, in("a/b"), "user.note", "")
	for i, name := range []string{"a/file", "a/run", "a/b/c", "empty", "private"} {
		at := time.Unix(1_700_000_000+int64(i), 123_456_789)
		must(t, os.Chtimes(in(name), at, at))
	}
	must(t, os.Chmod(in("private"), 0o500))
	t.Cleanup(func() { os.Chmod(in("private"), 0o700) })
	return dir
}

func packed(t *testing.T, dir string) ([]byte, Totals) {
	t.Helper()
	var stream bytes.Buffer
	totals, err := Pack(t.Context(), &stream, dir, Limits{})
	must(t, err)
	return stream.Bytes(), totals
}

func TestWhatIsPackedIsUnpacked(t *testing.T) {
	dir := sample(t)
	stream, packing := packed(t, dir)
	to := filepath.Join(t.TempDir(), "unpacked")
	unpacking, err := Unpack(t.Context(), to, bytes.NewReader(stream), Options{})
	must(t, err)
	want := tree(t, dir)
	if diff := cmp.Diff(want, tree(t, to)); diff != "" {
		t.Errorf("packed (-) and unpacked (+):\n%s", diff)
	}
	if packing != unpacking || packing.Entries != len(want) {
		t.Errorf("packed %+v, unpacked %+v; want %d entries", packing, unpacking, len(want))
	}
	if again, _ := packed(t, to); !bytes.Equal(again, stream) {
		t.Error("one tree gives two streams")
	}
	if left, _ := os.ReadDir(filepath.Dir(to)); len(left) != 1 {
		t.Errorf("beside it there is %v", left)
	}
}

func TestWhatIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t, syscall.Mkfifo(in("pipe"), 0o600), os.WriteFile(in("suid"), nil, 0o700), os.Chmod(in("suid"), 0o755|fs.ModeSetuid|fs.ModeSetgid))
	stream, totals := packed(t, dir)
	if totals.Skipped != 1 {
		t.Errorf("%+v; the pipe is to be skipped", totals)
	}
	to := filepath.Join(t.TempDir(), "unpacked")
	_, err := Unpack(t.Context(), to, bytes.NewReader(stream), Options{})
	must(t, err)
	if info, err := os.Stat(filepath.Join(to, "suid")); err != nil || info.Mode() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := os.Lstat(filepath.Join(to, "pipe")); err == nil {
		t.Error("the pipe was packed")
	}
}

// TestOverlay packs the upper directory of a real overlay, and mounts what was unpacked in its place.
func TestOverlay(t *testing.T) {
	need.Root(t)
	base := t.TempDir()
	in := func(names ...string) string { return filepath.Join(append([]string{base}, names...)...) }
	for _, dir := range []string{"lower/dir/sub", "lower/kept", "lower/old/name", "upper", "work", "work2", "merged"} {
		must(t, os.MkdirAll(in(dir), 0o755))
	}
	must(t, os.WriteFile(in("lower/dir/old"), []byte("old"), 0o600), os.WriteFile(in("lower/gone"), []byte("gone"), 0o600), os.WriteFile(in("lower/kept/file"), []byte("kept"), 0o600),
		os.WriteFile(in("lower/old/name/file"), []byte("renamed"), 0o600))
	mount := func(upper, work string) {
		t.Helper()
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=on,metacopy=off", in("lower"), in(upper), in(work))
		if err := syscall.Mount("overlay", in("merged"), "overlay", 0, options); err != nil {
			need.Missing(t, "needs a file system over which an overlay can be mounted: %v", err)
		}
	}
	unmount := func() { syscall.Unmount(in("merged"), syscall.MNT_DETACH) }
	t.Cleanup(unmount)
	mount("upper", "work")
	must(t,
		os.Remove(in("merged/gone")),
		os.RemoveAll(in("merged/dir")), os.Mkdir(in("merged/dir"), 0o755), os.WriteFile(in("merged/dir/new"), []byte("new"), 0o600), // opaque
		os.WriteFile(in("merged/kept/file"), []byte("changed"), 0o600),
		os.Rename(in("merged/old/name"), in("merged/kept/name")), os.Rename(in("merged/old"), in("merged/new")),
	)
	want := tree(t, in("merged"))
	unmount()
	stream, _ := packed(t, in("upper"))
	_, err := Unpack(t.Context(), in("upper2"), bytes.NewReader(stream), Options{})
	must(t, err)
	mount("upper2", "work2")
	got := tree(t, in("merged"))
	delete(want, ".") // the times of the mount itself
	delete(got, ".")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("before (-) and after (+):\n%s", diff)
	}
	if _, ok := got["dir/old"]; ok || got["gone"] != "" || got["dir/new"] == "" || got["kept/name/file"] == "" || got["new"] == "" {
		t.Errorf("the mount shows %v", got)
	}
}

func TestUnsupportedTrees(t *testing.T) {
	for what, make := range map[string]func(dir string) error{
		"a name of a whiteout": func(dir string) error { return os.WriteFile(filepath.Join(dir, ".wh.x"), nil, 0o600) },
		"a redirect of a user": func(dir string) error { return attribute(dir, "redirect") },
		"a metadata copy":      func(dir string) error { return attribute(dir, "metacopy") },
	} {
		dir := t.TempDir()
		must(t, make(dir))
		if _, err := Pack(t.Context(), io.Discard, dir, Limits{}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func attribute(dir, name string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return setXattr(int(f.Fd()), "user.overlay."+name, "x")
}

func TestLimits(t *testing.T) {
	dir := t.TempDir()
	for i := range 9 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, 100), 0o600))
	}
	stream, _ := packed(t, dir)
	for _, test := range []struct {
		limits Limits
		large  bool
	}{
		{Limits{Entries: 10, Bytes: 900}, false}, {Limits{Entries: 9}, true}, {Limits{Entries: 1}, true}, {Limits{Bytes: 899}, true},
	} {
		_, packing := Pack(t.Context(), io.Discard, dir, test.limits)
		to := filepath.Join(t.TempDir(), "unpacked")
		_, unpacking := Unpack(t.Context(), to, bytes.NewReader(stream), Options{Limits: test.limits})
		if errors.Is(packing, ErrTooLarge) != test.large || errors.Is(unpacking, ErrTooLarge) != test.large || !test.large && errors.Join(packing, unpacking) != nil {
			t.Errorf("%+v: packing: %v; unpacking: %v", test.limits, packing, unpacking)
		}
	}
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err, sparse.Truncate(1<<40), sparse.Close())
	if _, err := Pack(t.Context(), io.Discard, dir, Limits{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a sparse file of 1 TiB: %v", err)
	}
	deep := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(deep, strings.Repeat("d/", maxDepth+1)), 0o700))
	if _, err := Pack(t.Context(), io.Discard, deep, Limits{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a deep tree: %v", err)
	}
}

func TestAFailureLeavesNothing(t *testing.T) {
	stream, _ := packed(t, sample(t))
	broken := errors.New("the connection broke")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for what, unpack := range map[string]func(to string) error{
		"the stream is not verified": func(to string) error { // all of it came, and only then its reader finds a fault
			_, err := Unpack(t.Context(), to, io.MultiReader(bytes.NewReader(stream), failing{broken}), Options{})
			if !errors.Is(err, broken) {
				t.Errorf("its error is lost: %v", err)
			}
			return err
		},
		"the stream breaks": func(to string) error {
			_, err := Unpack(t.Context(), to, io.MultiReader(bytes.NewReader(stream[:len(stream)/2]), failing{broken}), Options{})
			if !errors.Is(err, broken) {
				t.Errorf("its error is lost: %v", err)
			}
			return err
		},
		"the stream ends early": func(to string) error {
			_, err := Unpack(t.Context(), to, bytes.NewReader(stream[:len(stream)-1]), Options{})
			return err
		},
		"the stream is empty": func(to string) error { _, err := Unpack(t.Context(), to, strings.NewReader(""), Options{}); return err },
		"something follows": func(to string) error {
			_, err := Unpack(t.Context(), to, bytes.NewReader(append(bytes.Clone(stream), 1)), Options{})
			return err
		},
		"the context has ended": func(to string) error {
			_, err := Unpack(ended, to, bytes.NewReader(stream), Options{})
			return err
		},
		"a bit flips": func(to string) error {
			flipped := bytes.Clone(stream)
			flipped[len(flipped)/2] ^= 1
			_, err := Unpack(t.Context(), to, bytes.NewReader(flipped), Options{})
			return err
		},
	} {
		parent := t.TempDir()
		if err := unpack(filepath.Join(parent, "unpacked")); err == nil {
			t.Errorf("%s: no error", what)
		}
		if left, _ := os.ReadDir(parent); len(left) != 0 {
			t.Errorf("%s: %v is left", what, left)
		}
	}
	if _, err := Unpack(t.Context(), t.TempDir(), bytes.NewReader(stream), Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a directory that is there: %v", err)
	}
	if _, err := Pack(ended, io.Discard, sample(t), Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Pack with a context that has ended: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestOwner(t *testing.T) {
	need.Root(t)
	stream, _ := packed(t, sample(t))
	to := filepath.Join(t.TempDir(), "unpacked")
	_, err := Unpack(t.Context(), to, bytes.NewReader(stream), Options{Owner: &Owner{12345, 23456}})
	must(t, err)
	must(t, filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 23456 {
			t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
		}
		return err
	}))
}
