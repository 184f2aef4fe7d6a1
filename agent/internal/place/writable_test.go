package place

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestDirectoriesThatAnybodyMayWriteIn(t *testing.T) {
	root := t.TempDir()
	in := func(dir string) string { return filepath.Join(root, dir) }
	for _, d := range []struct {
		name string
		mode os.FileMode
	}{
		{"proc", 0o755}, {"proc/all", 0o777}, {"sessions", 0o777}, {"tmp", 0o777 | os.ModeSticky}, {"tmp/below", 0o777},
		{"srv", 0o755}, {"srv/cache", 0o777}, {"srv/cache/below", 0o777}, {"pool", 0o777}, {"private", 0o755}, {"private/own", 0o775},
		{"var", 0o755}, {"var/lib", 0o755}, {"var/lib/cache", 0o777 | os.ModeSticky}, {"var/lib/app", 0o755}, {"var/lib/app/deep", 0o777},
	} {
		if err := os.Mkdir(in(d.name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(in(d.name), d.mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(in("pool"), in("link")); err != nil {
		t.Fatal(err)
	}
	found := Writable(root, []string{in("proc"), in("sessions")}, in("tmp"), in("absent"))
	slices.Sort(found)
	want := []string{in("absent"), in("pool"), in("srv/cache"), in("tmp"), in("var/lib/cache")}
	if !slices.Equal(found, want) {
		t.Errorf("found %q\nwant  %q", found, want)
	}
}

func BenchmarkWritable(b *testing.B) {
	for b.Loop() {
		Writable("/", []string{"/proc", "/sys"})
	}
}
