package berth_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/berth-go/berth"

// goPackage is a package, as go list describes it.
type goPackage struct {
	ImportPath, Dir, Name string
	GoFiles, Imports      []string
	Deps                  []string // everything it links, without tests
}

// rel is the package's path below the module: "" for the root.
func (p goPackage) rel() string {
	rel, _ := inModule(p.ImportPath)
	return rel
}

// inModule returns an import path below the module. ok is false for a package of another module.
func inModule(importPath string) (rel string, ok bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// listPackages lists every package of the module that has files beside tests.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	packages, err := goList()
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// goList asks the go command once, for all tests.
var goList = sync.OnceValues(func() (packages []goPackage, err error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Name,GoFiles,Imports,Deps", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, &stderr)
	}
	for list := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := list.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		if len(p.GoFiles) > 0 {
			packages = append(packages, p)
		}
	}
})

// under says whether a path below the module is one of the given ones or lies below one of them.
func under(rel string, tops ...string) bool {
	return slices.ContainsFunc(tops, func(top string) bool { return rel == top || strings.HasPrefix(rel, top+"/") })
}

// drivers are the packages that each bind one of our interfaces to one system.
var drivers = []string{
	"store/memstore", "store/sqlitestore", "store/pgstore",
	"pool/ec2cloud", "seal/awskms", "pool/localcloud", "orchestrator/dockerengine",
	"orchestrator/dirsnapshots", "orchestrator/s3snapshots",
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

// kits is the directory of packages for our own tests and examples. No program links them.
const kits = "internal/test"

// forTests says whether only tests and examples link a package. Conformance suites have names that end in "test", as
// testing/fstest does.
func forTests(rel string) bool {
	return under(rel, "examples", kits) || strings.HasSuffix(path.Base(rel), "test")
}

// TestImportDirections holds "berth -> pool, orchestrator -> store, naming" and its consequences.
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
			deny("store imports naming alone", func(dep string) bool { return !under(dep, "naming") })
		case under(rel, "store"):
			deny("a package below store imports store and naming alone", func(dep string) bool { return !under(dep, "store", "naming") })
		case under(rel, "agent"):
			deny("agent is a leaf", func(dep string) bool { return !under(dep, "agent") && !(forTests(rel) && under(dep, kits)) })
		case under(rel, "pool"):
			deny("pool imports neither orchestrator nor a package above both", func(dep string) bool { return dep == "" || under(dep, "orchestrator", "agent") })
		case under(rel, "orchestrator"):
			deny("orchestrator imports neither pool nor a package above both", func(dep string) bool { return dep == "" || under(dep, "pool") })
		case rel == "":
			deny("only programs that import the stores of SQLite and PostgreSQL link them", func(dep string) bool { return under(dep, "store/sqlitestore", "store/pgstore") })
			deny("only programs that import a store of snapshots link it", func(dep string) bool { return under(dep, "orchestrator/dirsnapshots", "orchestrator/s3snapshots") })
		}
		if !forTests(rel) {
			if !under(rel, "fake") {
				deny("only tests and examples import fake", func(dep string) bool { return under(dep, "fake") })
			}
			deny("only tests and examples import it", func(dep string) bool { return under(dep, kits) })
		}
		if slices.Contains([]string{"store", "pool", "orchestrator"}, rel) {
			deny("a driver imports its parent, never the other way round", func(dep string) bool { return under(dep, drivers...) })
		}
	}
}

// rooms are the packages that a Provider is made of, each with the other rooms that it may import.
var rooms = map[string][]string{
	"internal/session":    {"internal/admission"},
	"internal/admission":  nil,
	"internal/replica":    nil,
	"internal/command":    nil,
	"internal/filehelper": nil,
	"internal/teardown":   nil,
	"internal/usage":      nil,
	"internal/warmth":     nil,
}

// TestOnlyBerthImportsItsRooms: the root joins them, so that none knows another. External tests may import any.
func TestOnlyBerthImportsItsRooms(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.rel() == "" {
			continue
		}
		for _, i := range p.Imports {
			dep, _ := inModule(i)
			if _, isRoom := rooms[dep]; isRoom && !slices.Contains(rooms[p.rel()], dep) {
				t.Errorf("%s imports %s: that is a part of berth, which alone imports it", p.ImportPath, i)
			}
		}
	}
}

// internals are what pool, orchestrator and their drivers may import below internal. A driver that is not listed may import what
// its parent may.
var internals = map[string][]string{
	"pool":                      {"internal/loop"},
	"orchestrator":              {"internal/loop"},
	"orchestrator/dockerengine": {"internal/loop", "internal/hostboot"},
	"orchestrator/dirsnapshots": {"internal/snapshots"},
	"orchestrator/s3snapshots":  {"internal/snapshots"},
}

// TestManagersKnowLittleOfInternal keeps pool and orchestrator packages that a stranger can use by themselves.
func TestManagersKnowLittleOfInternal(t *testing.T) {
	for _, p := range listPackages(t) {
		allowed, ok := internals[p.rel()]
		if !ok {
			top, _, _ := strings.Cut(p.rel(), "/")
			allowed, ok = internals[top]
		}
		for _, i := range p.Imports {
			if dep, _ := inModule(i); ok && under(dep, "internal") && !under(dep, allowed...) {
				t.Errorf("%s imports %s: of internal it may import %s alone", p.ImportPath, i, strings.Join(allowed, " and "))
			}
		}
	}
}

// TestTelemetryHasOneOwner: internal/telemetry makes all instruments and spans, and the Config of the root names the providers.
// The program chooses the SDK, so that only tests and examples link one.
func TestTelemetryHasOneOwner(t *testing.T) {
	const otel = "go.opentelemetry.io/otel"
	for _, p := range listPackages(t) {
		if forTests(p.rel()) {
			continue
		}
		for _, i := range p.Imports {
			typesAlone := p.rel() == "" && (i == otel+"/metric" || i == otel+"/trace")
			if strings.HasPrefix(i, otel) && p.rel() != "internal/telemetry" && !typesAlone {
				t.Errorf("%s imports %s: internal/telemetry does", p.ImportPath, i)
			}
		}
		for _, d := range p.Deps {
			if strings.HasPrefix(d, otel+"/sdk") || strings.HasPrefix(d, otel+"/exporters") {
				t.Errorf("%s links %s: the program chooses it", p.ImportPath, d)
			}
		}
	}
}

// TestDriversHaveOneSDK keeps every system behind its own driver.
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
			t.Errorf("%s imports the SDK of %s: only a driver does", p.ImportPath, strings.Join(found, " and "))
		}
	}
}

// TestOnlyConstructorsImportDrivers looks at each file of the root package. The store in memory does not count as a
// driver there: a Config without a store means that one.
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

// TestFewCallsGoBackUp bounds the calls that a part makes to one that is made after it. All of them stand in wire.go: the methods of
// upward that implement interfaces of parts, those that are passed to a part, and the functions that are written there for a part.
func TestFewCallsGoBackUp(t *testing.T) {
	const most = 15
	file, err := parser.ParseFile(token.NewFileSet(), "wire.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if f.Recv != nil {
			if of, ok := f.Recv.List[0].Type.(*ast.Ident); ok && of.Name == "upward" && f.Name.IsExported() {
				calls = append(calls, f.Name.Name)
			}
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			literal, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			if of, ok := literal.Type.(*ast.SelectorExpr); !ok || of.Sel.Name != "Config" {
				return true
			}
			for _, e := range literal.Elts {
				field := e.(*ast.KeyValueExpr)
				switch v := field.Value.(type) {
				case *ast.FuncLit:
					calls = append(calls, field.Key.(*ast.Ident).Name)
				case *ast.SelectorExpr:
					if from, ok := v.X.(*ast.Ident); ok && from.Name == "up" {
						calls = append(calls, field.Key.(*ast.Ident).Name)
					}
				}
			}
			return true
		})
	}
	if len(calls) == 0 || len(calls) > most {
		t.Errorf("%d calls go back up, want 1 to %d: %q", len(calls), most, calls)
	}
}
