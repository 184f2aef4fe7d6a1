// Package filestest is the conformance suite of the files of a session: it checks that what serves them does what package files promises.
// The fake passes it, and so does the program of the agent, alone and in a container.
package filestest

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/berth-go/berth/files"
)

// A Harness is a session whose files are tested.
type Harness struct {
	FS   *files.FS
	Home string // the absolute name of its home
	Temp string // the absolute name of a directory in which the cases make directories of their own: one in memory is faster
	// Root says that the session may do everything, which only root may.
	Root bool
}

// Run runs the suite on one session.
func Run(t *testing.T, h Harness) {
	for _, c := range []struct {
		rule string
		test func(*testing.T, Harness, *files.FS)
	}{
		{"the files are an io/fs.FS", testFS},
		{"errors are *fs.PathError and have a meaning", testErrors},
		{"files are opened as package os does", testOpen},
		{"a file has what was written to it, however it is read", testStreams},
		{"files are made, moved, changed and removed", testChanges},
		{"names lead to the checkout, the home and temporary directories", testNames},
		{"a large directory is read in parts", testLarge},
		{"an archive is unpacked and packed again", testArchives},
		{"an archive that is not whole or hostile is an error", testHostileArchives},
		{"a watch tells of changes", testWatch},
		{"a watch of much says what it lost", testOverflow},
	} {
		t.Run(c.rule, func(t *testing.T) {
			dir := "case " + strings.ReplaceAll(c.rule[:12], "/", "-")
			temp, err := h.FS.Sub(h.Temp)
			must(t, err)
			must(t, temp.(*files.FS).Mkdir(dir, 0o755))
			defer func() { must(t, temp.(*files.FS).RemoveAll(dir)) }()
			below, err := fs.Sub(temp, dir)
			must(t, err)
			c.test(t, h, below.(*files.FS))
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Content returns n bytes that repeat nowhere.
func Content(n int) []byte {
	b := make([]byte, n)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(b)
	return b
}

// An Entry is one of an archive.
type Entry struct {
	Name, Link string
	Type       byte
	Mode       int64
	Content    string
}

var then = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)

// Archive returns a tar archive.
func Archive(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.Type == 0 {
			e.Type = tar.TypeReg
		}
		if e.Mode == 0 {
			e.Mode = 0o644
		}
		h := &tar.Header{Typeflag: e.Type, Name: e.Name, Linkname: e.Link, Mode: e.Mode, ModTime: then, Uid: 1, Gid: 1}
		if e.Type == tar.TypeReg {
			h.Size = int64(len(e.Content))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.Content)[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func testFS(t *testing.T, _ Harness, fsys *files.FS) {
	big := Content(300_000)
	must(t, fsys.CopyIn(bytes.NewReader(Archive(t,
		Entry{Name: "README", Content: "hello\n"},
		Entry{Name: "empty"},
		Entry{Name: "dir/", Type: tar.TypeDir, Mode: 0o755},
		Entry{Name: "dir/sub/deep.txt", Content: "deep"},
		Entry{Name: "dir/link", Type: tar.TypeSymlink, Link: "../README"},
		Entry{Name: "dir/dirlink", Type: tar.TypeSymlink, Link: "sub"},
		Entry{Name: "new\nline", Content: "a line"},
		Entry{Name: "bin/run", Mode: 0o755, Content: "#!/bin/sh\n"},
		Entry{Name: "big", Content: string(big)},
	))))
	must(t, fsys.WriteFile("latin-\xe9", []byte("1"), 0o600))
	must(t, fsys.Mkdir("nothing", 0o700))
	if err := fstest.TestFS(fsys, "README", "dir/sub/deep.txt", "dir/link", "new\nline", "latin-\xe9", "bin/run", "big", "nothing"); err != nil {
		t.Error(err)
	}
	if target, err := fsys.ReadLink("dir/link"); err != nil || target != "../README" {
		t.Errorf("ReadLink returned %q, %v", target, err)
	}
	if content, err := fs.ReadFile(fsys, "dir/link"); err != nil || string(content) != "hello\n" {
		t.Errorf("by the link: %q, %v", content, err)
	}
	if content, err := fsys.ReadFile("big"); err != nil || !bytes.Equal(content, big) {
		t.Errorf("a large file has %d bytes, %v", len(content), err)
	}
	if names, err := fsys.Glob("dir/*/*.txt"); err != nil || strings.Join(names, " ") != "dir/dirlink/deep.txt dir/sub/deep.txt" {
		t.Errorf("Glob returned %q, %v", names, err)
	}
}

// wantErr checks an error and that it names the file.
func wantErr(t *testing.T, what string, err, want error, name string) {
	t.Helper()
	failed, ok := errors.AsType[*fs.PathError](err)
	if !errors.Is(err, want) || !ok || failed.Path != name {
		t.Errorf("%s returned %v (%T); want a *fs.PathError of %q that is %v", what, err, err, name, want)
	}
}

func testErrors(t *testing.T, h Harness, fsys *files.FS) {
	must(t, fsys.WriteFile("file", []byte("x"), 0o644))
	must(t, fsys.MkdirAll("dir/sub", 0o755))
	must(t, fsys.CopyIn(bytes.NewReader(Archive(t,
		Entry{Name: "loop", Type: tar.TypeSymlink, Link: "loop"}, Entry{Name: "nowhere", Type: tar.TypeSymlink, Link: "/no/such"}))))
	first := func(_ any, err error) error { return err }
	for _, c := range []struct {
		what string
		err  error
		want error
		name string
	}{
		{"Open of nothing", first(fsys.Open("none")), fs.ErrNotExist, "none"},
		{"ReadFile of nothing", first(fsys.ReadFile("none")), fs.ErrNotExist, "none"},
		{"ReadFile of a directory", first(fsys.ReadFile("dir")), fs.ErrInvalid, ""},
		{"Stat of nothing", first(fsys.Stat("a/b")), fs.ErrNotExist, "a/b"},
		{"Stat of a link to nothing", first(fsys.Stat("nowhere")), fs.ErrNotExist, "nowhere"},
		{"Lstat of nothing", first(fsys.Lstat("none")), fs.ErrNotExist, "none"},
		{"ReadDir of nothing", first(fsys.ReadDir("none")), fs.ErrNotExist, "none"},
		{"ReadLink of a file", first(fsys.ReadLink("file")), fs.ErrInvalid, ""},
		{"Create in nothing", first(fsys.Create("none/file")), fs.ErrNotExist, "none/file"},
		{"an exclusive OpenFile", first(fsys.OpenFile("file", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)), fs.ErrExist, "file"},
		{"Mkdir of a directory", fsys.Mkdir("dir", 0o755), fs.ErrExist, "dir"},
		{"MkdirAll below nothing of a name that is too long", fsys.MkdirAll(strings.Repeat("n", 300), 0o755), nil, ""},
		{"Remove of a directory with files", fsys.Remove("dir"), fs.ErrExist, "dir"},
		{"Remove of nothing", fsys.Remove("none"), fs.ErrNotExist, "none"},
		{"Remove of the directory itself", fsys.Remove("."), fs.ErrInvalid, "."},
		{"RemoveAll of the directory itself", fsys.RemoveAll("."), fs.ErrInvalid, "."},
		{"Rename of the directory itself", fsys.Rename(".", "x"), fs.ErrInvalid, "."},
		{"Rename of nothing", fsys.Rename("none", "other"), fs.ErrNotExist, "none"},
		{"Chmod of nothing", fsys.Chmod("none", 0o644), fs.ErrNotExist, "none"},
		{"Chtimes of nothing", fsys.Chtimes("none", then, then), fs.ErrNotExist, "none"},
		{"a name with a byte of zero", first(fsys.Stat("a\x00b")), fs.ErrInvalid, `a\x00b`},
		{"a name with a second line", first(fsys.Stat("a\nb\u202e")), fs.ErrNotExist, `a; b\u202e`},
		{"Open of a loop", first(fsys.Open("loop")), nil, ""},
		{"CopyOut of nothing", readAll(fsys.CopyOut("none")), fs.ErrNotExist, ""},
	} {
		_, ok := errors.AsType[*fs.PathError](c.err)
		switch {
		case c.err == nil || !ok:
			t.Errorf("%s returned %v, want a *fs.PathError", c.what, c.err)
		case c.name != "":
			wantErr(t, c.what, c.err, c.want, c.name)
		}
	}
	if h.Root {
		return
	}
	must(t, fsys.Chmod("file", 0))
	wantErr(t, "ReadFile without the right", first(fsys.ReadFile("file")), fs.ErrPermission, "file")
	must(t, fsys.Chmod("dir", 0o500))
	wantErr(t, "WriteFile without the right", fsys.WriteFile("dir/new", nil, 0o644), fs.ErrPermission, "dir/new")
	must(t, fsys.Chmod("dir", 0o700))
}

func readAll(r io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

func testOpen(t *testing.T, _ Harness, fsys *files.FS) {
	must(t, fsys.WriteFile("f", []byte("one"), 0o644))
	f, err := fsys.OpenFile("f", os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	for _, s := range []string{" two", " three"} {
		_, err = io.WriteString(f, s)
		must(t, err)
	}
	if _, err := f.Read(make([]byte, 1)); err == nil {
		t.Error("a file that was opened for writing can be read")
	}
	must(t, f.Close())
	if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the second Close returned %v", err)
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Write after Close returned %v", err)
	}
	wantContent(t, fsys, "f", "one two three")
	opened, err := fsys.Open("f")
	must(t, err)
	if _, err := opened.(*files.File).Write([]byte("x")); err == nil {
		t.Error("a file that was opened for reading can be written")
	}
	must(t, opened.Close())
	f, err = fsys.OpenFile("f", os.O_RDWR|os.O_TRUNC, 0)
	must(t, err)
	must(t, f.Close())
	wantContent(t, fsys, "f", "")
	f, err = fsys.Create("g")
	must(t, err)
	_, err = io.WriteString(f, "0123456789")
	must(t, err)
	_, err = f.Seek(2, io.SeekStart)
	must(t, err)
	b := make([]byte, 3)
	if n, err := io.ReadFull(f, b); err != nil || string(b) != "234" {
		t.Errorf("Read returned %q, %v", b[:n], err)
	}
	_, err = io.WriteString(f, "--")
	must(t, err)
	must(t, f.Close())
	wantContent(t, fsys, "g", "01234--789")
	must(t, fsys.WriteFile("exec", nil, 0o777))
	if i, err := fsys.Stat("exec"); err != nil || i.Mode() != 0o755 {
		t.Errorf("its mode is %v, %v; want that of the umask 022", i.Mode(), err)
	}
	if _, err := fsys.OpenFile(".", os.O_RDWR, 0); err == nil {
		t.Error("a directory can be opened for writing")
	}
}

func wantContent(t *testing.T, fsys *files.FS, name, want string) {
	t.Helper()
	if b, err := fsys.ReadFile(name); err != nil || string(b) != want {
		t.Errorf("%s has %q, %v; want %q", name, b, err, want)
	}
}

func testNames(t *testing.T, h Harness, fsys *files.FS) {
	note := path.Join(h.Home, "note of the suite")
	must(t, fsys.WriteFile(note, []byte("in the home"), 0o600))
	wantContent(t, fsys, note, "in the home")
	home, err := fsys.Sub(h.Home)
	must(t, err)
	wantContent(t, home.(*files.FS), "note of the suite", "in the home")
	must(t, fsys.Remove(note))
	for _, name := range []string{"", "/", "..", "../x", "a/../b", "a//b", "a/", "./a", "/etc", "/tmp", h.Home + "/../x", "a/.."} {
		if _, err := fsys.Stat(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Stat(%q) returned %v; want fs.ErrInvalid", name, err)
		}
	}
	root, err := fsys.Sub("/")
	must(t, err)
	if _, err := fs.Stat(root, "tmp"); err != nil {
		t.Errorf("tmp of the root directory: %v", err)
	}
	if _, err := fsys.Sub("../x"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Sub of a name that leads out returned %v", err)
	}
}
