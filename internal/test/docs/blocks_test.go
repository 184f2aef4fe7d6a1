// Package docs holds tests of what the documents say: their code compiles and runs, the commands and files that they
// name exist, and the module can be fetched.
package docs

import (
	"encoding/json"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/test/testenv"
)

// root is the directory of the module.
const root = "../../.."

// A block is a block of code in a document or a package comment.
type block struct {
	file string // below root
	line int    // of its first line
	lang string // what its fence says; "" = a package comment, whose code has none
	code string
}

// documents returns the paths of all documents below root.
func documents(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err): // another program's temporary file
			return nil
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			rel, err := filepath.Rel(root, path)
			paths = append(paths, filepath.ToSlash(rel))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 5 {
		t.Fatalf("there are only the documents %v", paths)
	}
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// fences returns the fenced blocks of a document. A fence in a list is indented, and so are its lines.
func fences(file, text string) (blocks []block) {
	var open *block
	var indent string
	for i, line := range strings.Split(text, "\n") {
		rest := strings.TrimLeft(line, " ")
		switch {
		case open == nil && strings.HasPrefix(rest, "```"):
			indent = line[:len(line)-len(rest)]
			open = &block{file: file, line: i + 2, lang: strings.TrimSpace(rest[3:])}
		case open != nil && rest == "```":
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.code += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	return blocks
}

// inComments returns the blocks of code of all package comments that are Go.
func inComments(t *testing.T) (blocks []block) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		if strings.Contains(filepath.ToSlash(path), "/internal/") || strings.Contains(path, "testdata") {
			return nil // not for users
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil || file.Doc == nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		var p comment.Parser
		for _, part := range p.Parse(file.Doc.Text()).Content {
			code, ok := part.(*comment.Code)
			switch {
			case !ok:
			case kindOf(code.Text) != notGo:
				blocks = append(blocks, block{file: filepath.ToSlash(rel), line: fset.Position(file.Doc.Pos()).Line, code: code.Text})
			case strings.Contains(code.Text, ":="):
				t.Errorf("%s: the package comment has code that looks like Go and is none:\n%s", rel, code.Text)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}

// A kind is how much of a Go file a block is.
type kind int

const (
	notGo     kind = iota
	wholeFile      // with a package clause
	declares       // declarations
	fragment       // statements of a function
)

// kindOf finds the kind by the syntax alone.
func kindOf(code string) kind {
	parses := func(src string) *ast.File {
		file, err := parser.ParseFile(token.NewFileSet(), "", src, parser.SkipObjectResolution)
		if err != nil {
			return nil
		}
		return file
	}
	switch {
	case parses(code) != nil:
		return wholeFile
	case parses("package p\n"+code) != nil:
		return declares
	case parses("package p\nfunc _() {\n"+code+"\n}") != nil:
		return fragment
	}
	return notGo
}

func TestKindOf(t *testing.T) {
	for code, want := range map[string]kind{
		"package p\n\nfunc f() {}\n":                        wholeFile,
		"func f() {}\n":                                     declares,
		"x, err := f()\nif err != nil {\n\treturn err\n}\n": fragment,
		"PUT /tasks/{id}  gives the task its place\n":       notGo,
		"x, err := f(\n":                                    notGo,
	} {
		if got := kindOf(code); got != want {
			t.Errorf("%q is of kind %d, want %d", code, got, want)
		}
	}
}

// TestFencesSayWhatTheyHold: no test would look at a block without a language.
func TestFencesSayWhatTheyHold(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		testenv.Missing(t, "needs a shell: %v", err)
	}
	for _, file := range documents(t) {
		text := read(t, file)
		if strings.Count("\n"+text, "\n    ") > 0 && file != "CHANGELOG.md" {
			for i, line := range strings.Split(text, "\n") {
				if strings.HasPrefix(line, "    ") && !inFence(text, i) {
					t.Errorf("%s:%d: an indented block has no language: fence it", file, i+1)
				}
			}
		}
		for _, b := range fences(file, text) {
			switch b.lang {
			case "go":
				if kindOf(b.code) == notGo {
					t.Errorf("%s:%d: this is not Go", b.file, b.line)
				}
			case "json":
				if !json.Valid([]byte(b.code)) {
					t.Errorf("%s:%d: this is not JSON", b.file, b.line)
				}
			case "sh":
				cmd := exec.CommandContext(t.Context(), sh, "-n")
				cmd.Stdin = strings.NewReader(b.code)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s:%d: no shell takes this: %s", b.file, b.line, out)
				}
			case "dockerfile":
				for line := range strings.Lines(b.code) {
					if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word != "" && !slices.Contains(instructions, word) {
						t.Errorf("%s:%d: %s is no instruction of a Dockerfile", b.file, b.line, word)
					}
				}
			case "text":
			default:
				t.Errorf("%s:%d: a block of the language %q: want dockerfile, go, json, sh or text", b.file, b.line, b.lang)
			}
		}
	}
}

// instructions begin the lines of the Dockerfiles in the documents.
var instructions = []string{"#", "FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR"}

func inFence(text string, line int) bool {
	for _, b := range fences("", text) {
		if line+1 >= b.line && line+1 < b.line+strings.Count(b.code, "\n") {
			return true
		}
	}
	return false
}
