package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/berth-go/berth"

// granted is what a fragment may take for granted: the variables of the function that it is the body of. Whatever it
// declares itself it must use, as everywhere.
const granted = "func _(ctx context.Context, t *testing.T, cfg berth.Config, p *berth.Provider, s *berth.Session, url string) (err error) {\n{\n%s\n}\nreturn err\n}\n"

// TestGoCompilesAndRuns compiles all Go of the documents and package comments in a module of its own, as a program of
// a user is one, and runs the tests among it. It does the same with what examples/hosttest says is to be copied.
// examples/quickstart runs the program that the README shows.
func TestGoCompilesAndRuns(t *testing.T) {
	blocks := inComments(t)
	for _, file := range documents(t) {
		blocks = append(blocks, slices.DeleteFunc(fences(file, read(t, file)), func(b block) bool { return b.lang != "go" })...)
	}
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	known := packages(t)
	tests := 0
	for i, b := range blocks {
		name := fmt.Sprintf("block%d/block.go", i)
		if testFunc.MatchString(b.code) {
			tests++
			name = fmt.Sprintf("block%d/block_test.go", i)
		}
		src := b.code
		switch kindOf(b.code) {
		case declares:
			src = withImports(t, "package block", src, known)
		case fragment:
			src = withImports(t, "package block", fmt.Sprintf(granted, src), known)
		}
		if strings.Contains(src, modulePath+"/internal") {
			t.Errorf("%s:%d uses an internal package", b.file, b.line)
		}
		write(name, src)
		t.Logf("block%d is %s:%d", i, b.file, b.line)
	}
	comment, _, _ := strings.Cut(read(t, "examples/hosttest/tasks.go"), "package hosttest\n")
	copies := goFile.FindAllString(comment, -1) // "Copy …"
	if len(copies) < 3 {
		t.Errorf("examples/hosttest names the files %v to be copied", copies)
	}
	for _, name := range copies {
		write("hosttest/"+name, read(t, "examples/hosttest/"+name))
	}
	if len(blocks) < 6 || tests == 0 {
		t.Errorf("the documents have %d blocks of Go, %d of which are tests", len(blocks), tests)
	}
	absolute, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	mod := strings.Replace(read(t, "go.mod"), "module "+modulePath, "module example.com/user", 1)
	write("go.mod", mod+fmt.Sprintf("\nrequire %s v0.0.0\n\nreplace %s => %q\n", modulePath, modulePath, absolute))
	write("go.sum", read(t, "go.sum"))
	for _, args := range [][]string{{"vet", "-mod=mod", "-unreachable=false", "./..."}, {"test", "-mod=mod", "-vet=off", "./..."}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// packages returns the import paths of the module's packages and of the standard library's, by their names. Of two with
// one name the shorter path counts.
func packages(t *testing.T) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", modulePath+"/...", "std")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	known := make(map[string]string)
	for p := range strings.FieldsSeq(string(out)) {
		old, ok := known[path.Base(p)]
		if !strings.Contains(p, "internal") && (!ok || len(p) < len(old)) {
			known[path.Base(p)] = p
		}
	}
	return known
}

// withImports adds the imports of the packages whose names are used and not declared.
func withImports(t *testing.T, clause, code string, known map[string]string) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "", clause+"\n"+code, 0)
	if err != nil {
		t.Fatal(err)
	}
	imports := make(map[string]bool)
	for _, id := range file.Unresolved {
		if p, ok := known[id.Name]; ok && selects(file, id) {
			imports[p] = true
		}
	}
	var header strings.Builder
	header.WriteString(clause + "\n")
	for p := range imports {
		fmt.Fprintf(&header, "import %q\n", p)
	}
	return header.String() + code
}

// selects says whether an identifier is the left side of a selector.
func selects(file *ast.File, id *ast.Ident) (found bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		found = found || ok && s.X == id
		return !found
	})
	return found
}

// The things that documents name.
var (
	goFile     = regexp.MustCompile(`\w+\.go`)
	testFunc   = regexp.MustCompile(`(?m)^func Test\w*\(t \*testing\.T\)`)
	makeTarget = regexp.MustCompile(`\bmake ([a-z][a-z-]*)`)
	goRun      = regexp.MustCompile(`go run (\./[a-z0-9/]+)([^\n]*)`)
	flagName   = regexp.MustCompile(`(?:^|\s)-([a-z][a-z-]*)`)
	code       = regexp.MustCompile("`[^`\n]+`")
	link       = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
)

// TestCommandsExist: the targets of make, and the programs below examples with their flags.
func TestCommandsExist(t *testing.T) {
	makefile := read(t, "Makefile")
	usages := make(map[string]string)
	for _, file := range documents(t) {
		text := read(t, file)
		var commands []string
		for _, b := range fences(file, text) {
			if b.lang == "sh" {
				commands = append(commands, b.code)
			}
		}
		for _, c := range append(commands, code.FindAllString(text, -1)...) {
			for _, m := range makeTarget.FindAllStringSubmatch(c, -1) {
				if !strings.Contains(makefile, "\n"+m[1]+":") {
					t.Errorf("%s: make %s: there is no such target", file, m[1])
				}
			}
			for _, m := range goRun.FindAllStringSubmatch(c, -1) {
				if usages[m[1]] == "" {
					cmd := exec.CommandContext(t.Context(), "go", "run", m[1], "-h")
					cmd.Dir = root
					out, _ := cmd.CombinedOutput() // -h exits with 2
					usages[m[1]] = string(out)
				}
				for _, f := range flagName.FindAllStringSubmatch(m[2], -1) {
					if !strings.Contains(usages[m[1]], "  -"+f[1]) {
						t.Errorf("%s: %s has no flag -%s: %s", file, m[1], f[1], usages[m[1]])
					}
				}
			}
		}
	}
	if len(usages) == 0 {
		t.Error("no document runs an example")
	}
}

// TestLinksLead to files of the tree.
func TestLinksLead(t *testing.T) {
	for _, file := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			if _, err := os.Stat(filepath.Join(root, path.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
			}
		}
	}
}
