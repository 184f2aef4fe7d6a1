package pool_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestFaultsAreListed compares docs/faults.md with the tests that there are.
func TestFaultsAreListed(t *testing.T) {
	doc, err := os.ReadFile(filepath.FromSlash("../docs/faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	var source []byte
	for _, pattern := range []string{"*_test.go", "../internal/lease/*_test.go"} {
		files, err := filepath.Glob(filepath.FromSlash(pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source = append(source, content...)
		}
	}
	names := func(text []byte, pattern string) (all []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			all = append(all, string(m[1]))
		}
		return all
	}
	tests, listed := names(source, `(?m)^func (Test\w+)\(`), names(doc, "`(Test\\w+)`")
	for _, name := range listed {
		if !slices.Contains(tests, name) {
			t.Errorf("docs/faults.md names %s, and there is no such test", name)
		}
	}
	for _, name := range names(source, `(?m)^func (TestFault\d\w+)\(`) {
		if !slices.Contains(listed, name) {
			t.Errorf("docs/faults.md does not name %s", name)
		}
	}
}
