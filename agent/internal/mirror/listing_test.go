package mirror

import (
	"slices"
	"strings"
	"testing"
)

func TestReadFiles(t *testing.T) {
	const id = " 0123456789abcdef0123456789abcdef01234567\t"
	listing := "100644 blob" + id + "go.sum\x00" + "100755 blob" + id + "a\tb/go.sum\x00" + "160000 commit" + id + "go.sum\x00" +
		"100644 blob" + id + strings.Repeat("d/", 100<<10) + "go.sum\x00" + "120000 blob" + id + "last\nline/go.sum\x00" + "100644 blob" + id + "x\x00"
	files, err := readFiles(strings.NewReader(listing), func(path string) bool { return strings.HasSuffix(path, "go.sum") })
	var got []string
	for _, f := range files {
		got = append(got, f.Path+" "+f.ID[:4])
	}
	if want := []string{"go.sum 0123", "a\tb/go.sum 0123", "last\nline/go.sum 0123"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{"100644 blob", "100644 blob" + id + "cut", "blob\tx\x00"} {
		if files, err := readFiles(strings.NewReader(bad), func(string) bool { return true }); err == nil {
			t.Errorf("%q: %v and no error", bad, files)
		}
	}
	if _, err := readFiles(strings.NewReader(strings.Repeat("100644 blob"+id+"x\x00", maxFilesFound+1)), func(string) bool { return true }); err == nil {
		t.Error("no error for too many files")
	}
}
