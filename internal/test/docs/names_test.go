package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exported returns the exported names of a package: T, and T.F for each field and method of a type.
func exported(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	entries, err := os.ReadDir(filepath.Join(root, dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, dir, e.Name()), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					names[d.Name.Name] = true
				} else if of := receiver(d.Recv.List[0].Type); of != "" {
					names[of+"."+d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					addSpec(names, spec)
				}
			}
		}
	}
	return names
}

func receiver(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

func addSpec(names map[string]bool, spec ast.Spec) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			names[n.Name] = true
		}
	case *ast.TypeSpec:
		names[s.Name.Name] = true
		var fields *ast.FieldList
		switch u := s.Type.(type) {
		case *ast.StructType:
			fields = u.Fields
		case *ast.InterfaceType:
			fields = u.Methods
		default:
			return
		}
		for _, f := range fields.List {
			for _, n := range f.Names {
				names[s.Name.Name+"."+n.Name] = true
			}
			if len(f.Names) == 0 { // "T<-E" says that T embeds E, "T<-" that it embeds a type of another package
				names[s.Name.Name+"<-"+receiver(f.Type)] = true
			}
		}
	}
}

// has says whether a type has a field or a method, also by one that it embeds.
func has(names map[string]bool, of, member string) bool {
	if names[of+"."+member] || names[of+"<-"] {
		return true
	}
	for name := range names {
		if embedded, ok := strings.CutPrefix(name, of+"<-"); ok && has(names, embedded, member) {
			return true
		}
	}
	return false
}

// span finds what looks like a name of Go in inline code: a name, and one of its members.
var span = regexp.MustCompile("`([A-Za-z]\\w*)\\.([A-Z]\\w*)(?:\\.\\w+)*(?:\\([^`]*\\))?`")

// TestNamesExist holds the names in the text of documents, such as Config.OnEvent and store.Store, to the packages.
func TestNamesExist(t *testing.T) {
	packages := map[string]map[string]bool{"": exported(t, ".")}
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() != "internal" && !strings.HasPrefix(d.Name(), ".") {
			rel, _ := filepath.Rel(root, p)
			if base := path.Base(filepath.ToSlash(rel)); rel != "." {
				if packages[base] == nil {
					packages[base] = make(map[string]bool)
				}
				maps.Copy(packages[base], exported(t, rel)) // an example may be called as a package
			}
		}
		if d != nil && d.IsDir() && (d.Name() == "internal" || d.Name() == "testdata" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	packages["berth"] = packages[""]
	// Variables that the text calls by these names, and fields that are called without their Config.
	types := map[string]string{"cloud": "fake.Cloud", "engine": "fake.Engine", "EC2": "EC2Config"}
	found := 0
	for _, file := range documents(t) {
		for _, m := range span.FindAllStringSubmatch(read(t, file), -1) {
			of, member := m[1], m[2]
			in := packages[""]
			if named, ok := types[of]; ok {
				of = named
				if pkg, name, ok := strings.Cut(named, "."); ok {
					in, of = packages[pkg], name
				}
			} else if pkg, ok := packages[of]; ok && of != "" {
				found++
				if !pkg[member] {
					t.Errorf("%s: there is no %s", file, m[0])
				}
				continue
			}
			if !in[of] {
				continue // of another package, or no name of Go
			}
			found++
			if !has(in, of, member) {
				t.Errorf("%s: %s has no %s, as in %s", file, of, member, m[0])
			}
		}
	}
	if found < 20 {
		t.Errorf("the documents have only %d names", found)
	}
}
