package berth_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Bounds of the tree. A file, a type or a directory that passes one should become two.
const (
	maxLines     = 400 // of a file
	maxFunction  = 60  // lines of a function
	maxMethods   = 40  // of a type
	maxRootFiles = 16  // of Go in the root, without tests
	maxRootTests = 20  // files of tests in the root
)

// methodsOf lists the types that have a bound of their own in place of maxMethods.
var methodsOf = map[string]int{
	"berth.Provider": 25,
}

// generated matches the line that marks a generated file.
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// treeFiles returns every file of the source tree, as slash-separated paths.
func treeFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err): // another program's temporary file
			return nil
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." && path != ".ci":
			return filepath.SkipDir
		case d.Type().IsRegular() && path != ".git": // in a worktree, .git is a file
			files = append(files, filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return content
}

func TestFilesAreShort(t *testing.T) {
	for _, path := range treeFiles(t) {
		if !strings.HasSuffix(path, ".go") {
			continue
		}
		content := read(t, path)
		if n := bytes.Count(content, []byte("\n")); n > maxLines && !generated.Match(content) {
			t.Errorf("%s has %d lines; a file has at most %d", path, n, maxLines)
		}
	}
}

// function matches a function of more than one line.
var function = regexp.MustCompile(`(?m)^func .*[({]$(?s:.*?)^}$`)

// TestFunctionsAreShort leaves test kits out: they play whole systems.
func TestFunctionsAreShort(t *testing.T) {
	for _, path := range treeFiles(t) {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || under(path, kits) {
			continue
		}
		content := read(t, path)
		if generated.Match(content) {
			continue
		}
		for _, f := range function.FindAll(content, -1) {
			if n := 1 + bytes.Count(f, []byte("\n")); n > maxFunction {
				name, _, _ := bytes.Cut(f, []byte("\n"))
				t.Errorf("%s: %s has %d lines; a function has at most %d", path, name, n, maxFunction)
			}
		}
	}
}

// TestRootIsShort holds the number of files in the directory that a visitor of the repository sees first.
func TestRootIsShort(t *testing.T) {
	files, tests := 0, 0
	for _, path := range treeFiles(t) {
		switch {
		case strings.Contains(path, "/") || !strings.HasSuffix(path, ".go"):
		case strings.HasSuffix(path, "_test.go"):
			tests++
		default:
			files++
		}
	}
	if files > maxRootFiles {
		t.Errorf("the root has %d Go files beside tests; it has at most %d", files, maxRootFiles)
	}
	if tests > maxRootTests {
		t.Errorf("the root has %d files of tests; it has at most %d", tests, maxRootTests)
	}
}

// TestTypesAreSmall counts the methods of every type. Test kits are left out: they play whole systems.
func TestTypesAreSmall(t *testing.T) {
	for dir, files := range parseTree(t) {
		pkg := filepath.ToSlash(dir)
		if pkg == "." {
			pkg = "berth"
		}
		if under(pkg, kits) {
			continue
		}
		methods := make(map[string]int)
		for _, file := range files {
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil {
					methods[receiver(f.Recv.List[0].Type)]++
				}
			}
		}
		for name, n := range methods {
			most, ok := methodsOf[pkg+"."+name]
			if !ok {
				most = maxMethods
			}
			if n > most {
				t.Errorf("%s.%s has %d methods; it may have %d", pkg, name, n, most)
			}
		}
	}
}

// TestProviderIsSmall: the parts of a Provider are packages of their own, and it joins them.
func TestProviderIsSmall(t *testing.T) {
	const below = 18
	for _, file := range parseTree(t)["."] {
		for _, decl := range file.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range d.Specs {
				s, ok := spec.(*ast.TypeSpec)
				if !ok || s.Name.Name != "Provider" {
					continue
				}
				if n := s.Type.(*ast.StructType).Fields.NumFields(); n >= below {
					t.Errorf("Provider has %d fields; it has fewer than %d", n, below)
				}
				return
			}
		}
	}
	t.Error("there is no type Provider")
}

// TestNoPathOfAMachine checks that no file, not even an embedded binary, names a directory of the machine that built it.
func TestNoPathOfAMachine(t *testing.T) {
	var (
		home, work = "/" + "root/", "/" + "work/"                                              // in pieces, so that the test does not find this file
		text       = regexp.MustCompile("(?m)(^|[\\s\"'`(=,])(" + home + "[^.]|" + work + ")") // tools of images have ".config" and the like there
		binary     = regexp.MustCompile(home + "go/|" + work + "main|" + home + "\\.cache")
	)
	for _, path := range treeFiles(t) {
		content, pattern := read(t, path), text
		if bytes.IndexByte(content[:min(len(content), 8000)], 0) >= 0 {
			pattern = binary
		}
		if at := pattern.FindIndex(content); at != nil {
			line := 1 + bytes.Count(content[:at[0]], []byte("\n"))
			t.Errorf("%s:%d names a path of a machine: %q", path, line, content[at[0]:min(at[1]+20, len(content))])
		}
	}
}

// TestEverythingIsDocumented checks that every package, every exported name and every method of an exported interface has
// a comment. Those of interfaces hold the contracts of errors.
func TestEverythingIsDocumented(t *testing.T) {
	for dir, files := range parseTree(t) {
		documented := false
		for path, file := range files {
			documented = documented || strings.TrimSpace(file.Doc.Text()) != ""
			for _, name := range undocumented(file) {
				t.Errorf("%s: %s has no comment", path, name)
			}
		}
		if !documented {
			t.Errorf("package %s has no package comment", dir)
		}
	}
}

// parseTree parses the files of every package, without tests and generated files, by directory and path.
func parseTree(t *testing.T) map[string]map[string]*ast.File {
	t.Helper()
	packages := make(map[string]map[string]*ast.File)
	for _, path := range treeFiles(t) {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains("/"+path, "/testdata/") {
			continue
		}
		content := read(t, path)
		if len(content) == 0 || generated.Match(content) {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, content, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		dir := filepath.Dir(path)
		if packages[dir] == nil {
			packages[dir] = make(map[string]*ast.File)
		}
		packages[dir][path] = file
	}
	return packages
}

// wellKnown are methods whose meaning an interface of the standard library fixes.
var wellKnown = []string{
	"Error", "Unwrap", "Is", "As", "String", "GoString", "Format", "LogValue", "Len", "Less", "Swap", "ServeHTTP",
	"Read", "Write", "Close", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText",
}

// undocumented returns the exported names of a file that have no comment.
func undocumented(file *ast.File) []string {
	var names []string
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Doc.Text() != "" || !d.Name.IsExported() {
				continue
			}
			if d.Recv == nil {
				names = append(names, d.Name.Name)
			} else if on := receiver(d.Recv.List[0].Type); ast.IsExported(on) && !slices.Contains(wellKnown, d.Name.Name) {
				names = append(names, on+"."+d.Name.Name)
			}
		case *ast.GenDecl:
			if d.Doc.Text() != "" && d.Tok != token.TYPE {
				continue // one comment may speak for a group
			}
			for _, spec := range d.Specs {
				names = append(names, undocumentedSpec(d, spec)...)
			}
		}
	}
	return names
}

func undocumentedSpec(d *ast.GenDecl, spec ast.Spec) []string {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return nil
		}
		names := undocumentedMethods(s)
		alone := d.Doc.Text() != "" && len(d.Specs) == 1
		if !alone && s.Doc.Text() == "" && s.Comment.Text() == "" {
			names = append(names, s.Name.Name)
		}
		return names
	case *ast.ValueSpec:
		if s.Doc.Text() != "" || s.Comment.Text() != "" {
			return nil
		}
		var names []string
		for _, name := range s.Names {
			if name.IsExported() {
				names = append(names, name.Name)
			}
		}
		return names
	}
	return nil
}

// undocumentedMethods returns the exported methods of an interface that have no comment.
func undocumentedMethods(s *ast.TypeSpec) []string {
	face, ok := s.Type.(*ast.InterfaceType)
	if !ok {
		return nil
	}
	var names []string
	for _, method := range face.Methods.List {
		for _, name := range method.Names { // none = an embedded interface, which speaks for itself
			if name.IsExported() && method.Doc.Text() == "" && method.Comment.Text() == "" && !slices.Contains(wellKnown, name.Name) {
				names = append(names, s.Name.Name+"."+name.Name)
			}
		}
	}
	return names
}

// receiver returns the name of a method's type.
func receiver(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
