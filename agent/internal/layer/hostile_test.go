package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// entries is a hostile stream. The first entry of each is the tree itself, unless bare is set.
type entries []tar.Header

func (e entries) tar(t testing.TB, bare bool) []byte {
	t.Helper()
	var stream bytes.Buffer
	w := tar.NewWriter(&stream)
	if !bare {
		e = append(entries{{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}}, e...)
	}
	for _, h := range e {
		size := h.Size
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, size); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return stream.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// xattr is a header's record of an extended attribute.
func xattr(name, value string) map[string]string { return map[string]string{xattrRecord + name: value} }

func redirect(place string) map[string]string { return map[string]string{redirRecord: place} }

const (
	file = tar.TypeReg
	dir  = tar.TypeDir
	sym  = tar.TypeSymlink
	hard = tar.TypeLink
)

func TestHostileStreams(t *testing.T) {
	many := make(entries, 2000)
	for i := range many {
		many[i] = tar.Header{Typeflag: file, Name: strings.Repeat("f", 1+i%200) + string(rune('a'+i/200))}
	}
	deep := make(entries, maxDepth+2)
	for i := range deep {
		deep[i] = tar.Header{Typeflag: dir, Name: strings.Repeat("d/", i+1)}
	}
	for what, test := range map[string]struct {
		entries entries
		bare    bool
		want    error
	}{
		"a name that leads out":           {entries: entries{{Typeflag: file, Name: "../planted"}}},
		"a name that leads out and in":    {entries: entries{{Typeflag: file, Name: "a/../../planted"}}},
		"a name that leads nowhere":       {entries: entries{{Typeflag: dir, Name: "a/"}, {Typeflag: file, Name: "a/../b"}}},
		"a name that ends above":          {entries: entries{{Typeflag: dir, Name: ".."}}},
		"an absolute name":                {entries: entries{{Typeflag: file, Name: "/planted"}}},
		"an empty element":                {entries: entries{{Typeflag: dir, Name: "a/"}, {Typeflag: file, Name: "a//b"}}},
		"a name below a symbolic link":    {entries: entries{{Typeflag: sym, Name: "a", Linkname: ".."}, {Typeflag: file, Name: "a/planted"}}},
		"a symbolic link to a directory":  {entries: entries{{Typeflag: dir, Name: "b/"}, {Typeflag: sym, Name: "a", Linkname: "b"}, {Typeflag: file, Name: "a/x"}}},
		"a file in place of a link":       {entries: entries{{Typeflag: sym, Name: "a", Linkname: "../planted"}, {Typeflag: file, Name: "a", Size: 3}}},
		"a directory in place of a link":  {entries: entries{{Typeflag: sym, Name: "a", Linkname: ".."}, {Typeflag: dir, Name: "a/"}}},
		"a link in place of a directory":  {entries: entries{{Typeflag: dir, Name: "a/"}, {Typeflag: sym, Name: "a", Linkname: ".."}}},
		"a whiteout in place of a link":   {entries: entries{{Typeflag: sym, Name: "a", Linkname: ".."}, {Typeflag: file, Name: ".wh.a"}}},
		"a file twice":                    {entries: entries{{Typeflag: file, Name: "a"}, {Typeflag: file, Name: "a"}}},
		"the tree twice":                  {entries: entries{{Typeflag: dir, Name: "./"}}},
		"no tree":                         {bare: true},
		"a file without a tree":           {entries: entries{{Typeflag: file, Name: "a"}}, bare: true},
		"a tree that is a link":           {entries: entries{{Typeflag: sym, Name: ".", Linkname: "/"}}, bare: true},
		"a file without its directory":    {entries: entries{{Typeflag: file, Name: "a/b"}}},
		"a file in a file":                {entries: entries{{Typeflag: file, Name: "a"}, {Typeflag: file, Name: "a/b"}}},
		"a directory that was left":       {entries: entries{{Typeflag: dir, Name: "a/"}, {Typeflag: dir, Name: "b/"}, {Typeflag: file, Name: "a/x"}}},
		"a hard link out":                 {entries: entries{{Typeflag: hard, Name: "a", Linkname: "../canary/file"}}},
		"a hard link to an absolute path": {entries: entries{{Typeflag: hard, Name: "a", Linkname: "/etc/passwd"}}},
		"a hard link through a symbolic link": {entries: entries{
			{Typeflag: sym, Name: "a", Linkname: "../canary"}, {Typeflag: hard, Name: "b", Linkname: "a/file"}}},
		"a hard link to a symbolic link":   {entries: entries{{Typeflag: sym, Name: "a", Linkname: "../canary/file"}, {Typeflag: hard, Name: "b", Linkname: "a"}}},
		"a hard link to a directory":       {entries: entries{{Typeflag: dir, Name: "a/"}, {Typeflag: hard, Name: "b", Linkname: "a"}}},
		"a character device":               {entries: entries{{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}}},
		"a whiteout as a device":           {entries: entries{{Typeflag: tar.TypeChar, Name: "a"}}},
		"a block device":                   {entries: entries{{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8}}},
		"a pipe":                           {entries: entries{{Typeflag: tar.TypeFifo, Name: "pipe"}}},
		"a symbolic link to nothing":       {entries: entries{{Typeflag: sym, Name: "a"}}},
		"a whiteout of the tree":           {entries: entries{{Typeflag: file, Name: ".wh.."}}},
		"a whiteout of what is above":      {entries: entries{{Typeflag: file, Name: ".wh..."}}},
		"a whiteout of no name":            {entries: entries{{Typeflag: file, Name: ".wh."}}},
		"a whiteout of a whiteout":         {entries: entries{{Typeflag: file, Name: ".wh..wh.a"}}},
		"a whiteout with a content":        {entries: entries{{Typeflag: file, Name: ".wh.a", Size: 1}}},
		"a whiteout that is a directory":   {entries: entries{{Typeflag: dir, Name: ".wh.a/"}}},
		"a whiteout that is a link":        {entries: entries{{Typeflag: sym, Name: ".wh.a", Linkname: "b"}}},
		"an attribute of the overlay":      {entries: entries{{Typeflag: file, Name: "a", PAXRecords: xattr("trusted.overlay.redirect", "/etc")}}},
		"an attribute of a user's overlay": {entries: entries{{Typeflag: dir, Name: "a/", PAXRecords: xattr("user.overlay.redirect", "/etc")}}},
		"a redirect out":                   {entries: entries{{Typeflag: dir, Name: "a/", PAXRecords: redirect("/../etc")}}},
		"a redirect of no name":            {entries: entries{{Typeflag: dir, Name: "a/", PAXRecords: redirect("/")}}},
		"a redirect by a relative path":    {entries: entries{{Typeflag: dir, Name: "a/", PAXRecords: redirect("b/c")}}},
		"a redirect of a file":             {entries: entries{{Typeflag: file, Name: "a", PAXRecords: redirect("/b")}}},
		"a capability":                     {entries: entries{{Typeflag: file, Name: "a", PAXRecords: xattr("security.capability", "\x01\x00\x00\x02")}}},
		"a link with attributes":           {entries: entries{{Typeflag: sym, Name: "a", Linkname: "b", PAXRecords: xattr("user.a", "b")}}},
		"a name that is too long":          {entries: entries{{Typeflag: file, Name: strings.Repeat("x", maxName+1)}}},
		"a path that is too long":          {entries: entries{{Typeflag: file, Name: strings.Repeat("x/", maxPath/2) + "x"}}},
		"a link that is too long":          {entries: entries{{Typeflag: sym, Name: "a", Linkname: strings.Repeat("x", maxPath+1)}}},
		"too many files":                   {entries: many, want: ErrTooLarge},
		"too many directories":             {entries: deep, want: ErrTooLarge},
		"too many bytes":                   {entries: entries{{Typeflag: file, Name: "a", Size: 600_000}, {Typeflag: file, Name: "b", Size: 600_000}}, want: ErrTooLarge},
	} {
		want := test.want
		if want == nil {
			want = ErrUnsafe
		}
		refused(t, what, test.entries.tar(t, test.bare), want)
	}
}

// refused fails the test unless a tar is refused, and leaves everything around it alone.
func refused(t *testing.T, what string, stream []byte, want error) {
	t.Helper()
	parent := t.TempDir()
	canary := filepath.Join(parent, "canary")
	must(t, os.Mkdir(canary, 0o755), os.WriteFile(filepath.Join(canary, "file"), []byte("untouched"), 0o644))
	before := tree(t, canary)
	var compressed bytes.Buffer
	z, err := compress(&compressed)
	must(t, err)
	_, err = z.Write(stream)
	must(t, err, z.Close())
	_, err = Unpack(t.Context(), filepath.Join(parent, "unpacked"), &compressed, Options{Limits: Limits{Entries: 1000, Bytes: 1_000_000}})
	if !errors.Is(err, want) {
		t.Errorf("%s: %v; want %v", what, err, want)
	}
	left, _ := os.ReadDir(parent)
	after := tree(t, canary)
	if len(left) != 1 || len(after) != len(before) || after["file"] != before["file"] || after["."] != before["."] {
		t.Errorf("%s: left %v, %v", what, left, after)
	}
}

// TestABombIsRefused: what compression hides is bounded, also where it is no content of a file.
func TestABombIsRefused(t *testing.T) {
	limits := Limits{Entries: 10, Bytes: 1 << 20}
	for what, fill := range map[string]func(w *tar.Writer) error{
		"a large file": func(w *tar.Writer) error {
			if err := w.WriteHeader(&tar.Header{Typeflag: file, Name: "a", Size: 1 << 40}); err != nil {
				return err
			}
			_, err := io.CopyN(w, zeros{}, 64<<20)
			return err
		},
		"many large headers": func(w *tar.Writer) error {
			for range 8 {
				if err := w.WriteHeader(&tar.Header{Typeflag: dir, Name: "a/", PAXRecords: map[string]string{"BERTH.padding": strings.Repeat("x", 900_000)}}); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		var stream bytes.Buffer
		z, err := compress(&stream)
		must(t, err)
		must(t, fill(tar.NewWriter(z)), z.Close())
		if _, err := Unpack(t.Context(), filepath.Join(t.TempDir(), "unpacked"), &stream, Options{Limits: limits}); !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrUnsafe) {
			t.Errorf("%s: %v", what, err)
		}
	}
	var tail bytes.Buffer
	z, err := compress(&tail)
	must(t, err)
	_, err = z.Write(entries{}.tar(t, false))
	must(t, err)
	_, err = io.CopyN(z, zeros{}, 64<<20)
	must(t, err, z.Close())
	if _, err := Unpack(t.Context(), filepath.Join(t.TempDir(), "unpacked"), &tail, Options{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("zeros without end behind the last entry: %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	for _, seed := range []entries{
		{{Typeflag: dir, Name: "a/", Mode: 0o755}, {Typeflag: file, Name: "a/b", Mode: 0o644, Size: 10}, {Typeflag: sym, Name: "a/c", Linkname: "../.."}},
		{{Typeflag: file, Name: "a", PAXRecords: map[string]string{linkRecord: "1"}}, {Typeflag: hard, Name: "b", Linkname: "a"}, {Typeflag: file, Name: ".wh.c"}, {Typeflag: file, Name: opaque}},
		{{Typeflag: sym, Name: "a", Linkname: ".."}, {Typeflag: file, Name: "a/planted"}, {Typeflag: hard, Name: "b", Linkname: "../canary"}},
		{{Typeflag: file, Name: "a", PAXRecords: xattr("user.a", "b"), Mode: 0o6777}, {Typeflag: dir, Name: "b/", Mode: 0o7777}},
		{{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
	} {
		f.Add(seed.tar(f, false))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		parent := t.TempDir()
		must(t, os.WriteFile(filepath.Join(parent, "canary"), []byte("untouched"), 0o600))
		to := filepath.Join(parent, "unpacked")
		limits := Limits{Entries: 100, Bytes: 1 << 20}
		totals, err := unpackAside(t.Context(), to, Options{}, func(into int) (Totals, error) {
			return unpack(t.Context(), into, bytes.NewReader(stream), Options{Limits: limits, UserXattr: true})
		})
		left, _ := os.ReadDir(parent)
		if want := map[bool]int{true: 2, false: 1}[err == nil]; len(left) != want {
			t.Fatalf("%v, and left %v", err, left)
		}
		var st syscall.Stat_t
		if content, err := os.ReadFile(filepath.Join(parent, "canary")); err != nil || string(content) != "untouched" {
			t.Fatalf("outside the tree: %q, %v", content, err)
		}
		if must(t, syscall.Lstat(filepath.Join(parent, "canary"), &st)); st.Nlink != 1 {
			t.Fatal("the file outside has another link")
		}
		if err != nil {
			return
		}
		files := 0
		must(t, filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			files++
			isWhiteout := info.Mode()&fs.ModeCharDevice != 0 && info.Sys().(*syscall.Stat_t).Rdev == 0
			if kind := info.Mode().Type(); kind&^(fs.ModeDir|fs.ModeSymlink) != 0 && !isWhiteout || info.Mode()&fs.ModeSetuid != 0 {
				t.Errorf("%s is %v", path, info.Mode())
			}
			return nil
		}))
		if files > totals.Entries || totals.Entries > limits.Entries || totals.Bytes > limits.Bytes {
			t.Errorf("%d files, %+v", files, totals)
		}
	})
}
