package docs

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var kernelSkip = regexp.MustCompile(`need\.Kernel\(\w+, ("?)([\w-]+)`)

// TestKernelSkipsAreAnnounced: "make test" says at its beginning what the kernel lacks, for everything for which tests skip also with
// CI=true.
func TestKernelSkipsAreAnnounced(t *testing.T) {
	makefile := read(t, "Makefile")
	_, announced, _ := strings.Cut(makefile, "\ntest: lint ")
	announced, _, _ = strings.Cut(announced, "\n\n")
	names := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		name, _ := filepath.Rel(root, path)
		for _, m := range kernelSkip.FindAllStringSubmatch(read(t, name), -1) {
			if m[1] == "" {
				t.Errorf("%s: need.Kernel takes a literal, so that it can be found: %s", name, m[0])
			}
			names[m[2]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !names["quotas"] {
		t.Errorf("no test needs quotas of the kernel: %v", names)
	}
	for name := range names {
		if !strings.Contains(announced, " "+name) {
			t.Errorf("make test does not look for %s", name)
		}
		cmd := exec.CommandContext(t.Context(), ".ci/need", "-skips", name)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		if err != nil || len(out) > 0 && !strings.Contains(string(out), "tests will skip: ") {
			t.Errorf(".ci/need -skips %s: %v: %s", name, err, out)
		}
	}
}
