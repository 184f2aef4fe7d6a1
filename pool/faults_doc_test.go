package pool_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// faults is how many faults docs/faults.md has.
const faults = 71

// goTest is a test of the module: the path of its package from the root, whose own is "", and its name.
type goTest struct{ dir, name string }

// TestFaultsAreListed compares docs/faults.md with the tests of the module. Each fault has a row, each row names tests or says
// why there is none, and each test of a fault, in any package, is named in the row of that fault.
func TestFaultsAreListed(t *testing.T) {
	doc, err := os.ReadFile(filepath.FromSlash("../docs/faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := allTests(t)
	named := make(map[goTest][]int) // the rows that name a test
	last := 0
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		n, err := strconv.Atoi(strings.TrimSpace(cells[0]))
		if len(cells) != 4 || err != nil {
			continue
		}
		if n != last+1 {
			t.Errorf("fault %d follows fault %d", n, last)
		}
		last = n
		cell := strings.TrimSpace(cells[3])
		all := testsNamed(cell)
		for _, test := range all {
			named[test] = append(named[test], n)
			if !slices.Contains(tests, test) {
				t.Errorf("docs/faults.md names %s of %q, and there is no such test", test.name, test.dir)
			}
		}
		if len(all) == 0 && !strings.HasPrefix(cell, "none: ") {
			t.Errorf("fault %d names no test, and does not say why there is none", n)
		}
	}
	if last != faults {
		t.Errorf("%d faults are listed, not %d", last, faults)
	}
	number := regexp.MustCompile(`^TestFault(\d+)`)
	for _, test := range tests {
		if m := number.FindStringSubmatch(test.name); m != nil {
			if n, _ := strconv.Atoi(m[1]); !slices.Contains(named[test], n) {
				t.Errorf("docs/faults.md does not name %s of %q in the row of fault %d", test.name, test.dir, n)
			}
		}
	}
}

// testsNamed returns the tests that a cell names. They are of this package, or of the package named before them, up to the
// next semicolon.
func testsNamed(cell string) (all []goTest) {
	for part := range strings.SplitSeq(cell, ";") {
		dir := "pool"
		for _, m := range regexp.MustCompile("`([^`]+)`(:?)").FindAllStringSubmatch(part, -1) {
			if m[2] != "" {
				dir = strings.TrimPrefix(m[1], "berth")
			} else {
				all = append(all, goTest{dir, m[1]})
			}
		}
	}
	return all
}

// allTests returns every test of the module, including those for other systems.
func allTests(t *testing.T) (all []goTest) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // another test's temporary file
			return nil
		case err == nil && d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", filepath.FromSlash(path)), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), ".")
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				all = append(all, goTest{dir, f.Name.Name})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
