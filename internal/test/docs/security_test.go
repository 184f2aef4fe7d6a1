package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// named finds the name of a test in inline code.
var named = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")

// TestClaimsHaveTests holds each claim of docs/security.md to a test: each item of a list outside of the sections that say
// what berth does not do names one, and each test that it names exists.
func TestClaimsHaveTests(t *testing.T) {
	tests := testsBelow(t, root)
	claims, section := 0, ""
	for _, item := range items(read(t, "docs/security.md")) {
		if heading, ok := strings.CutPrefix(item, "## "); ok {
			section = heading
			continue
		}
		names := named.FindAllStringSubmatch(item, -1)
		if strings.HasPrefix(item, "- ") && !strings.HasPrefix(section, "What berth does not") {
			claims++
			if len(names) == 0 {
				t.Errorf("under %q, no test holds: %s", section, item)
			}
		}
		for _, m := range names {
			if !tests[m[1]] {
				t.Errorf("under %q: there is no test %s", section, m[1])
			}
		}
	}
	if claims < 10 {
		t.Errorf("there are only %d claims", claims)
	}
}

// items returns the headings, the items of lists and the paragraphs of a document, each on one line.
func items(text string) (all []string) {
	open := false // the last one may go on
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch begins := strings.HasPrefix(line, "#") || strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "|"); {
		case line == "":
			open = false
		case begins || !open:
			all, open = append(all, line), !strings.HasPrefix(line, "#")
		default:
			all[len(all)-1] += " " + line
		}
	}
	return all
}

// testsBelow returns the names of all tests and fuzz tests below a directory.
func testsBelow(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
