package berth_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/berth-go/berth"

// goPackage is what go list says of a package.
type goPackage struct {
	ImportPath, Dir, Name string
	GoFiles, Imports      []string
	Deps                  []string // all that it links, tests apart
}

// rel is the package's path below the module: "" for the root.
func (p goPackage) rel() string {
	rel, _ := inModule(p.ImportPath)
	return rel
}

// inModule returns an import path below the module; ok is false for what lies outside.
func inModule(importPath string) (rel string, ok bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// listPackages lists every package of the module that has files of its own beside tests.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Dir,Name,GoFiles,Imports,Deps", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, &stderr)
	}
	var packages []goPackage
	for list := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := list.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			packages = append(packages, p)
		}
	}
}

// under says whether a path below the module is one of the given ones or lies below one of them.
func under(rel string, tops ...string) bool {
	return slices.ContainsFunc(tops, func(top string) bool { return rel == top || strings.HasPrefix(rel, top+"/") })
}

// drivers are the packages that each bind one of our interfaces to one system, and their parents.
var drivers = []string{
	"store/memstore", "store/sqlitestore", "store/pgstore",
	"pool/ec2cloud", "seal/awskms", "pool/localcloud", "orchestrator/dockerengine",
}

// sdks are the families of modules of which a driver may use one, by the beginning of their import paths.
var sdks = map[string][]string{
	"docker":     {"github.com/moby/", "github.com/docker/"},
	"aws":        {"github.com/aws/"},
	"sqlite":     {"modernc.org/", "github.com/mattn/go-sqlite3", "github.com/ncruces/go-sqlite3"},
	"postgresql": {"github.com/jackc/", "github.com/lib/pq"},
}

// sdksOf returns the families among import paths, sorted.
func sdksOf(imports []string) []string {
	var found []string
	for name, prefixes := range sdks {
		if slices.ContainsFunc(imports, func(i string) bool {
			return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(i, prefix) })
		}) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// ours are the packages that no user links: tools of our own tests and examples.
var ours = []string{"internal/workspace", "internal/gittest", "internal/testenv", "internal/pgtest"}

// forTests says whether a package is linked by tests and examples alone: conformance suites are named so, as
// testing/fstest is.
func forTests(rel string) bool {
	return under(rel, append([]string{"examples"}, ours...)...) || strings.HasSuffix(path.Base(rel), "test")
}

// TestImportDirections holds "berth -> pool, orchestrator -> store, naming" and what follows from it.
func TestImportDirections(t *testing.T) {
	for _, p := range listPackages(t) {
		rel := p.rel()
		deny := func(why string, forbidden func(dep string) bool) {
			t.Helper()
			for _, d := range p.Deps {
				if dep, ok := inModule(d); ok && dep != rel && forbidden(dep) {
					t.Errorf("%s links %s: %s", p.ImportPath, d, why)
				}
			}
		}
		switch {
		case under(rel, "naming"):
			deny("naming is a leaf", func(string) bool { return true })
			for _, i := range p.Imports {
				if slices.Contains([]string{"os", "os/exec", "net", "net/http", "syscall"}, i) {
					t.Errorf("%s imports %s: naming does no I/O", p.ImportPath, i)
				}
			}
		case rel == "store":
			deny("store knows naming alone", func(dep string) bool { return !under(dep, "naming") })
		case under(rel, "store"):
			deny("what is below store knows store and naming alone", func(dep string) bool { return !under(dep, "store", "naming", "internal") })
		case under(rel, "agent"):
			deny("agent is a leaf", func(dep string) bool { return !under(dep, "agent") })
		case under(rel, "pool"):
			deny("pool knows neither orchestrator nor what is above it", func(dep string) bool { return dep == "" || under(dep, "orchestrator", "agent") })
		case under(rel, "orchestrator"):
			deny("orchestrator knows neither pool nor what is above it", func(dep string) bool { return dep == "" || under(dep, "pool") })
		case rel == "":
			deny("SQLite and PostgreSQL are linked by the programs that import their stores", func(dep string) bool { return under(dep, "store/sqlitestore", "store/pgstore") })
		}
		if !forTests(rel) {
			if !under(rel, "fake") && !under(rel, "internal/sim") { // the simulation is a test that fills a package
				deny("nothing but tests and examples imports fake", func(dep string) bool { return under(dep, "fake") })
			}
			deny("it is for our tests and examples", func(dep string) bool { return under(dep, ours...) })
		}
		if slices.Contains([]string{"store", "pool", "orchestrator"}, rel) {
			deny("a driver imports its parent, never the other way round", func(dep string) bool { return under(dep, drivers...) })
		}
	}
}

// TestDriversHaveOneSDK keeps every system behind the one package that is made for it.
func TestDriversHaveOneSDK(t *testing.T) {
	for _, p := range listPackages(t) {
		rel, found := p.rel(), sdksOf(p.Imports)
		if under(rel, drivers...) {
			for _, i := range p.Imports {
				if dep, ok := inModule(i); ok && under(dep, drivers...) && !under(dep, rel) && !under(rel, dep) {
					t.Errorf("%s imports %s: a driver imports no other driver", p.ImportPath, i)
				}
			}
			if len(found) > 1 {
				t.Errorf("%s imports the SDKs of %s: a driver has one", p.ImportPath, strings.Join(found, " and "))
			}
			continue
		}
		if rel != "" && !forTests(rel) && len(found) > 0 {
			t.Errorf("%s imports the SDK of %s: that is a driver's part", p.ImportPath, strings.Join(found, " and "))
		}
	}
}

// TestOnlyConstructorsImportDrivers looks at the root package file by file. The store in memory is no driver there: it
// is what a Config without a store means.
func TestOnlyConstructorsImportDrivers(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.rel() != "" {
			continue
		}
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Error(err)
				continue
			}
			var imports []string
			for _, spec := range file.Imports {
				imports = append(imports, strings.Trim(spec.Path.Value, `"`))
			}
			bad := slices.DeleteFunc(slices.Clone(imports), func(i string) bool {
				dep, ok := inModule(i)
				isDriver := ok && under(dep, drivers...) && dep != "store/memstore"
				return !isDriver && len(sdksOf([]string{i})) == 0
			})
			if len(bad) > 0 && !declares(file, "NewEC2SharedProvider", "NewLocalProvider") {
				t.Errorf("%s imports %s: only the files of NewEC2SharedProvider and NewLocalProvider do", name, strings.Join(bad, " and "))
			}
		}
	}
}

// declares says whether a file declares one of some functions.
func declares(file *ast.File, names ...string) bool {
	return slices.ContainsFunc(file.Decls, func(d ast.Decl) bool {
		f, ok := d.(*ast.FuncDecl)
		return ok && f.Recv == nil && slices.Contains(names, f.Name.Name)
	})
}
