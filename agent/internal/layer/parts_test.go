package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPartsHaveWhatIsNotLeftOut(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"src/main.go", "src/gen/x.go", "lib/a", "node_modules/p/index.js", ".git/config"} {
		must(t, os.MkdirAll(filepath.Join(dir, "work", filepath.Dir(name)), 0o755), os.WriteFile(filepath.Join(dir, "work", name), []byte(name), 0o666))
	}
	must(t, os.Link(filepath.Join(dir, "work/lib/a"), filepath.Join(dir, "work/node_modules/a")), os.Symlink("/etc/passwd", filepath.Join(dir, "work/node_modules/l")),
		os.Mkdir(filepath.Join(dir, "work/empty"), 0o777), os.Mkdir(filepath.Join(dir, "home"), 0o700))
	setAttribute(t, filepath.Join(dir, "work/src/gen/x.go"), "user.x", "y")
	tracked := map[string]bool{"src/main.go": true, "lib/a": true}
	parts := []Part{
		{Name: "checkout", Dir: filepath.Join(dir, "work"), Omit: func(at string, _ bool) bool { return at == ".git" || tracked[at] }, Lean: func(at string) bool { return at == "src" || at == "lib" }},
		{Name: "dir0", Dir: filepath.Join(dir, "home")},
		{Name: "dir1", Dir: filepath.Join(dir, "missing")},
	}
	var stream bytes.Buffer
	totals, err := PackParts(context.Background(), &stream, parts, Limits{})
	must(t, err)
	to := filepath.Join(t.TempDir(), "to")
	unpacked, err := Unpack(context.Background(), to, bytes.NewReader(stream.Bytes()), Options{Plain: true})
	must(t, err)
	if totals.Bytes != unpacked.Bytes || totals.Bytes == 0 {
		t.Errorf("packed %+v, unpacked %+v", totals, unpacked)
	}
	got := slices.Sorted(maps.Keys(tree(t, to)))
	want := []string{
		".", "checkout", "checkout/empty", "checkout/node_modules", "checkout/node_modules/a", "checkout/node_modules/l", "checkout/node_modules/p",
		"checkout/node_modules/p/index.js", "checkout/src", "checkout/src/gen", "checkout/src/gen/x.go", "dir0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(filepath.Join(to, "checkout/src/gen/x.go")); err != nil || info.Mode().Perm()&0o022 != 0 {
		t.Errorf("a file has the mode %v, %v", info.Mode(), err)
	}
}

func TestPlainStreamsHaveNothingOfAnOverlay(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"a whiteout": {Typeflag: tar.TypeReg, Name: ".wh.x"}, "an opaque directory": {Typeflag: tar.TypeReg, Name: opaque},
		"an attribute": {Typeflag: tar.TypeReg, Name: "x", PAXRecords: xattr("user.x", "y")},
		"a redirect":   {Typeflag: tar.TypeDir, Name: "x/", PAXRecords: redirect("y")},
	} {
		var stream bytes.Buffer
		z, err := compress(&stream)
		must(t, err)
		w := tar.NewWriter(z)
		h.Mode, h.Format = 0o755, tar.FormatPAX
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}), w.WriteHeader(&h), w.Close(), z.Close())
		_, err = Unpack(context.Background(), filepath.Join(t.TempDir(), "to"), bytes.NewReader(stream.Bytes()), Options{Plain: true})
		if err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
