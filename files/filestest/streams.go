package filestest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/berth-go/berth/files"
)

func testStreams(t *testing.T, _ Harness, fsys *files.FS) {
	content := Content(3_000_001)
	f, err := fsys.Create("f")
	must(t, err)
	n, err := io.Copy(f, bytes.NewReader(content))
	if err != nil || n != int64(len(content)) {
		t.Fatalf("Copy returned %d, %v", n, err)
	}
	var back bytes.Buffer
	_, err = f.Seek(0, io.SeekStart)
	must(t, err)
	if n, err := io.Copy(&back, f); err != nil || n != int64(len(content)) || !bytes.Equal(back.Bytes(), content) {
		t.Errorf("Copy returned %d, %v", n, err)
	}
	part := make([]byte, 1_000_000)
	if n, err := f.ReaderAt().ReadAt(part, 1_234_567); err != nil || !bytes.Equal(part[:n], content[1_234_567:][:1_000_000]) {
		t.Errorf("ReadAt returned %d, %v", n, err)
	}
	if n, err := f.ReaderAt().ReadAt(part, int64(len(content))-10); err != io.EOF || n != 10 {
		t.Errorf("ReadAt at the end returned %d, %v", n, err)
	}
	must(t, f.Close())
	must(t, fsys.WriteFile("g", content, 0o644))
	got, err := fsys.ReadFile("g")
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("ReadFile returned %d bytes, %v", len(got), err)
	}
	opened, err := fsys.Open("g")
	must(t, err)
	defer opened.Close()
	got, err = io.ReadAll(struct{ io.Reader }{opened})
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("ReadAll returned %d bytes, %v", len(got), err)
	}
	// A source that fails leaves an error, and what came before.
	broken := errors.New("the source is broken")
	h, err := fsys.OpenFile("h", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	must(t, err)
	defer h.Close()
	if n, err := io.Copy(h, io.MultiReader(strings.NewReader("before "), strings.NewReader("it"), iotest.ErrReader(broken))); err != broken || n != 9 {
		t.Errorf("Copy returned %d, %v", n, err)
	}
	wantContent(t, fsys, "h", "before it")
}

func testChanges(t *testing.T, _ Harness, fsys *files.FS) {
	must(t, fsys.MkdirAll("a/b/c", 0o755))
	must(t, fsys.MkdirAll("a/b", 0o755))
	must(t, fsys.WriteFile("a/b/f", []byte("x"), 0o640))
	must(t, fsys.Rename("a/b/f", "a/g"))
	must(t, fsys.Rename("a/b", "moved"))
	wantContent(t, fsys, "a/g", "x")
	must(t, fsys.Chmod("a/g", 0o600))
	at := then.Add(123456789)
	must(t, fsys.Chtimes("a/g", time.Time{}, at))
	if i, err := fsys.Stat("a/g"); err != nil || i.Mode() != 0o600 || !i.ModTime().Equal(at) || i.Size() != 1 {
		t.Errorf("Stat returned %v, %v", i, err)
	}
	must(t, fsys.Chtimes("a/g", at, time.Time{}))
	if i, err := fsys.Stat("a/g"); err != nil || !i.ModTime().Equal(at) {
		t.Errorf("Chtimes has changed a time that it was not given: %v, %v", i.ModTime(), err)
	}
	must(t, fsys.WriteFile("other", []byte("is replaced"), 0o644))
	must(t, fsys.Rename("a/g", "other"))
	wantContent(t, fsys, "other", "x")
	must(t, fsys.Remove("moved/c"))
	must(t, fsys.RemoveAll("a"))
	must(t, fsys.RemoveAll("a"))
	list, err := fsys.ReadDir(".")
	if names := fmt.Sprint(list); err != nil || names != "[d moved/ - other]" {
		t.Errorf("there are %s, %v", names, err)
	}
}

// large is how many files are in a large directory.
const large = 3000

func testLarge(t *testing.T, _ Harness, fsys *files.FS) {
	var entries []Entry
	for i := range large {
		entries = append(entries, Entry{Name: fmt.Sprintf("d/file-with-a-name-of-some-length-%05d", i)})
	}
	must(t, fsys.CopyIn(bytes.NewReader(Archive(t, entries...))))
	ReadLarge(t, fsys, "d", large)
	list, err := fsys.ReadDir("d")
	if err != nil || len(list) != large {
		t.Errorf("ReadDir returned %d entries, %v", len(list), err)
	}
}

// ReadLarge reads a directory in parts.
func ReadLarge(t *testing.T, fsys *files.FS, name string, want int) {
	t.Helper()
	dir, err := fsys.Open(name)
	must(t, err)
	defer dir.Close()
	names := make(map[string]bool)
	for {
		list, err := dir.(fs.ReadDirFile).ReadDir(1000)
		for _, e := range list {
			names[e.Name()] = true
		}
		if err == io.EOF {
			break
		}
		if must(t, err); len(list) == 0 || len(list) > 1000 {
			t.Fatalf("ReadDir returned %d entries", len(list))
		}
	}
	if len(names) != want {
		t.Errorf("the directory has %d files; want %d", len(names), want)
	}
}

func testArchives(t *testing.T, _ Harness, fsys *files.FS) {
	big := string(Content(700_000))
	want := []Entry{
		{Name: "d/", Type: tar.TypeDir, Mode: 0o550},
		{Name: "d/file", Mode: 0o640, Content: "hello"},
		{Name: "d/big", Mode: 0o644, Content: big},
		{Name: "d/link", Type: tar.TypeSymlink, Mode: 0o777, Link: "no/where"},
		{Name: "d/new\nline", Mode: 0o755, Content: "#!"},
		{Name: "d/e/", Type: tar.TypeDir, Mode: 0o777},
		{Name: "d/" + strings.Repeat("n", 200), Mode: 0o666, Content: "long"},
	}
	archive := Archive(t, want...)
	for range 2 { // the second time over the files of the first
		must(t, fsys.CopyIn(iotest.HalfReader(bytes.NewReader(archive))))
		must(t, fsys.Chmod("d", 0o755))
	}
	if err := fsys.CopyIn(bytes.NewReader(Archive(t, Entry{Name: "x/hard", Type: tar.TypeLink, Link: "d/file"}))); err != nil {
		t.Errorf("a hard link: %v", err)
	}
	wantContent(t, fsys, "x/hard", "hello")
	must(t, fsys.RemoveAll("x"))
	must(t, fsys.Chmod("d", 0o550))
	must(t, fsys.Chtimes("d", then, then))
	for _, names := range [][]string{{"d"}, {"d/file", "d/e", "d/big"}} {
		out, err := fsys.CopyOut(names...)
		must(t, err)
		got := entriesOf(t, out)
		if n, err := out.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("Read at the end returned %d, %v", n, err)
		}
		out.Close()
		for _, e := range want {
			e.Type = cmp.Or(e.Type, tar.TypeReg)
			if len(names) == 1 || slices.Contains(names, strings.TrimSuffix(e.Name, "/")) {
				if got[e.Name] != e {
					t.Errorf("%q came back with mode %o, link %q and %d bytes", e.Name, got[e.Name].Mode, got[e.Name].Link, len(got[e.Name].Content))
				}
				delete(got, e.Name)
			}
		}
		if len(got) > 0 {
			t.Errorf("%d more came back", len(got))
		}
	}
	must(t, fsys.Chmod("d", 0o755))
	made, err := fsys.Sub("not/made/yet")
	must(t, err)
	must(t, made.(*files.FS).CopyIn(bytes.NewReader(Archive(t, Entry{Name: "f", Content: "x"}))))
	wantContent(t, fsys, "not/made/yet/f", "x")
	// One who closes early leaves nothing that hangs.
	out, err := fsys.CopyOut(".")
	must(t, err)
	_, err = out.Read(make([]byte, 10))
	must(t, err)
	must(t, out.Close())
}

// entriesOf reads an archive to its end, by the names of its entries.
func entriesOf(t *testing.T, archive io.Reader) map[string]Entry {
	t.Helper()
	got := make(map[string]Entry)
	for in := tar.NewReader(archive); ; {
		h, err := in.Next()
		if err == io.EOF {
			return got
		}
		must(t, err)
		content, err := io.ReadAll(in)
		must(t, err)
		if h.Typeflag != tar.TypeSymlink && !h.ModTime.Equal(then) {
			t.Errorf("the time of %q is %v", h.Name, h.ModTime)
		}
		got[h.Name] = Entry{Name: h.Name, Link: h.Linkname, Type: h.Typeflag, Mode: h.Mode, Content: string(content)}
	}
}

func testHostileArchives(t *testing.T, _ Harness, fsys *files.FS) {
	must(t, fsys.MkdirAll("in", 0o755))
	must(t, fsys.WriteFile("victim", []byte("untouched"), 0o644))
	below, err := fsys.Sub("in")
	must(t, err)
	in := below.(*files.FS)
	whole := Archive(t, Entry{Name: "f", Content: string(Content(500_000))})
	broken := errors.New("the source is broken")
	for name, c := range map[string]struct {
		r    io.Reader
		want error // nil = any
	}{
		"a name above":    {bytes.NewReader(Archive(t, Entry{Name: "../victim", Content: "x"})), fs.ErrInvalid},
		"a name far":      {bytes.NewReader(Archive(t, Entry{Name: "a/../../victim", Content: "x"})), fs.ErrInvalid},
		"an absolute one": {bytes.NewReader(Archive(t, Entry{Name: "/victim", Content: "x"})), fs.ErrInvalid},
		"a device":        {bytes.NewReader(Archive(t, Entry{Name: "null", Type: tar.TypeChar})), fs.ErrInvalid},
		"a pipe":          {bytes.NewReader(Archive(t, Entry{Name: "pipe", Type: tar.TypeFifo})), fs.ErrInvalid},
		"a link above":    {bytes.NewReader(Archive(t, Entry{Name: "hard", Type: tar.TypeLink, Link: "../victim"})), fs.ErrInvalid},
		"a part":          {bytes.NewReader(whole[:300_000]), nil},
		"no archive":      {strings.NewReader(strings.Repeat("no archive ", 1000)), nil},
		"a broken source": {io.MultiReader(bytes.NewReader(whole[:300_000]), iotest.ErrReader(broken)), broken},
	} {
		err := in.CopyIn(c.r)
		if _, ok := errors.AsType[*fs.PathError](err); !ok || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: CopyIn returned %v; want %v", name, err, c.want)
		}
	}
	// What an archive links is not written through.
	must(t, in.CopyIn(bytes.NewReader(Archive(t, Entry{Name: "l", Type: tar.TypeSymlink, Link: "../victim"}, Entry{Name: "l", Content: "new"}))))
	wantContent(t, in, "l", "new")
	wantContent(t, fsys, "victim", "untouched")
	must(t, in.CopyIn(bytes.NewReader(append(Archive(t, Entry{Name: "padded", Content: "x"}), make([]byte, 1<<20)...))))
	wantContent(t, in, "padded", "x")
}

// follow collects what a watch tells, until all that is wanted was told.
func follow(t *testing.T, watch iter.Seq2[files.FileEvent, error], want map[string]func(files.FileEvent) bool) {
	t.Helper()
	var told []string
	for e, err := range watch {
		if err != nil {
			t.Fatalf("the watch ended with %v; it has told %q, and not %v", err, told, want)
		}
		told = append(told, fmt.Sprintf("%+v", e))
		if is := want[e.Name]; is != nil && is(e) {
			delete(want, e.Name)
		}
		if len(want) == 0 {
			return
		}
	}
}

func testWatch(t *testing.T, _ Harness, fsys *files.FS) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	must(t, fsys.MkdirAll("w/old/deep", 0o755))
	must(t, fsys.WriteFile("w/old/f", nil, 0o644))
	created := func(e files.FileEvent) bool { return e.Created }
	removed := func(e files.FileEvent) bool { return e.Removed }
	watch := fsys.Watch(ctx, "w")
	must(t, fsys.WriteFile("w/old/deep/new", []byte("x"), 0o644))
	must(t, fsys.WriteFile("w/old/f", []byte("x"), 0o644))
	must(t, fsys.MkdirAll("w/made/below", 0o755))
	must(t, fsys.WriteFile("w/made/below/g", []byte("x"), 0o644))
	must(t, fsys.WriteFile("outside", nil, 0o644))
	follow(t, watch, map[string]func(files.FileEvent) bool{
		"w/old/deep/new": created, "w/old/f": func(e files.FileEvent) bool { return e.Written }, "w/made": created, "w/made/below/g": created,
	})

	watch = fsys.Watch(ctx, "w")
	must(t, fsys.Rename("w/made", "w/moved"))
	must(t, fsys.Remove("w/old/f"))
	must(t, fsys.Chmod("w/old/deep/new", 0o600))
	follow(t, watch, map[string]func(files.FileEvent) bool{
		"w/made": removed, "w/moved": created, "w/old/f": removed,
		"w/old/deep/new": func(e files.FileEvent) bool { return e.Metadata },
	})

	watch = fsys.Watch(ctx, "w/moved/below/g") // one file
	must(t, fsys.WriteFile("w/moved/below/g", []byte("more"), 0o644))
	follow(t, watch, map[string]func(files.FileEvent) bool{"w/moved/below/g": func(e files.FileEvent) bool { return e.Written }})

	watch = fsys.Watch(ctx, "w")
	must(t, fsys.RemoveAll("w"))
	var last error
	for _, last = range watch {
	}
	if !errors.Is(last, fs.ErrNotExist) {
		t.Errorf("a watch of what was removed ended with %v", last)
	}
	for _, last = range fsys.Watch(ctx, "w") {
	}
	wantErr(t, "Watch of nothing", last, fs.ErrNotExist, "w")

	ended, end := context.WithCancelCause(ctx)
	watch = fsys.Watch(ended, ".")
	over := errors.New("enough")
	end(over)
	for _, last = range watch {
	}
	if !errors.Is(last, over) {
		t.Errorf("a watch whose context has ended ended with %v", last)
	}
}

func testOverflow(t *testing.T, _ Harness, fsys *files.FS) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	must(t, fsys.Mkdir("w", 0o755))
	watch := fsys.Watch(ctx, "w")
	const many = 9000 // more than are kept for one who does not read
	var entries []Entry
	for i := range many {
		entries = append(entries, Entry{Name: fmt.Sprint("w/", i)})
	}
	must(t, fsys.CopyIn(bytes.NewReader(Archive(t, entries...))))
	must(t, fsys.WriteFile("w/last", nil, 0o644))
	told := make(map[string]bool)
	for e, err := range watch {
		must(t, err)
		if told[e.Name] = true; e.Overflow {
			if e.Name != "w" {
				t.Errorf("it has the name %q", e.Name)
			}
			break
		}
		if len(told) > many {
			break // the kernel's events were read fast enough
		}
	}
}
