package docs

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/test/testenv"
)

// modFile is go.mod as "go mod edit -json" prints it.
type modFile struct {
	Module  struct{ Path string }
	Go      string
	Require []struct {
		Path     string
		Indirect bool
	}
	Replace, Exclude []any
}

func parseMod(t *testing.T) (m modFile) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = root
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestDependenciesHaveReasons: those of go.mod and no others.
func TestDependenciesHaveReasons(t *testing.T) {
	direct := make(map[string]bool)
	for _, r := range parseMod(t).Require {
		if !r.Indirect {
			direct[r.Path] = true
		}
	}
	_, section, found := strings.Cut(read(t, "CONTRIBUTING.md"), "\n## Dependencies\n")
	if !found {
		t.Fatal("CONTRIBUTING.md has no section about dependencies")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| *(.*?) *\\|$").FindAllStringSubmatch(section, -1) {
		if !direct[row[1]] {
			t.Errorf("CONTRIBUTING.md has a row for %s, which go.mod does not require, or has twice", row[1])
		}
		if row[2] == "" {
			t.Errorf("CONTRIBUTING.md gives no reason for %s", row[1])
		}
		delete(direct, row[1])
	}
	for path := range direct {
		t.Errorf("CONTRIBUTING.md gives no reason for %s", path)
	}
}

// TestModuleCanBeFetched packs the tree as a module proxy does, and builds the README's program on it in a fresh module,
// with go get. The go command holds the archive to the limits of modules: names, sizes, no two that differ by case alone.
func TestModuleCanBeFetched(t *testing.T) {
	git := testenv.Git(t)
	mod := parseMod(t)
	if mod.Module.Path != modulePath || len(mod.Replace) > 0 || len(mod.Exclude) > 0 {
		t.Errorf("go.mod is of %s, and has %d replace and %d exclude directives", mod.Module.Path, len(mod.Replace), len(mod.Exclude))
	}
	version := "v0.0.0-test." + strings.ToLower(rand.Text()) // of its own: the module cache never looks again at one that it has
	proxy := t.TempDir()
	pack(t, git, filepath.Join(proxy, filepath.FromSlash(modulePath), "@v"), version)

	cache := strings.TrimSpace(run(t, root, nil, "go", "env", "GOMODCACHE"))
	t.Cleanup(func() { forget(t, cache, version) })
	env := []string{
		"GOPROXY=file://" + filepath.ToSlash(proxy) + ",file://" + filepath.ToSlash(cache) + "/cache/download," + strings.TrimSpace(run(t, root, nil, "go", "env", "GOPROXY")),
		"GONOSUMDB=" + modulePath, "GOFLAGS=-modcacherw", "GOWORK=off",
	}
	user := t.TempDir()
	for _, b := range fences("README.md", read(t, "README.md")) {
		if b.lang == "go" && strings.Contains(b.code, "func main()") {
			if err := os.WriteFile(filepath.Join(user, "main.go"), []byte(b.code), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(t, user, env, "go", "mod", "init", "example.com/user")
	run(t, user, env, "go", "get", modulePath+"@"+version)
	run(t, user, env, "go", "build", "-o", os.DevNull, ".")
	if license := filepath.Join(cache, filepath.FromSlash(modulePath)+"@"+version, "LICENSE"); !strings.Contains(string(mustRead(t, license)), "Apache License") {
		t.Error("the module is fetched without its license")
	}
}

// pack writes the files of a module proxy for a version: those of the tree that git does not ignore.
func pack(t *testing.T, git, dir, version string) {
	t.Helper()
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	size := 0
	files := strings.Split(run(t, root, nil, git, "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00")
	slices.Sort(files)
	for _, name := range slices.Compact(files) { // one with conflicts is listed more than once
		info, err := os.Lstat(filepath.Join(root, name))
		if name == "" || os.IsNotExist(err) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) == "go.mod" && name != "go.mod" {
			t.Errorf("%s makes another module", name)
		}
		f, err := w.Create(modulePath + "@" + version + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		content := mustRead(t, filepath.Join(root, name))
		size += len(content)
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the module has %d KB, packed %d KB", size>>10, archive.Len()>>10)
	if size > 100<<20 {
		t.Errorf("the module has %d MB: the go command refuses 500, and users fetch all of it", size>>20)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		version + ".zip":  archive.Bytes(),
		version + ".mod":  []byte(read(t, "go.mod")),
		version + ".info": fmt.Appendf(nil, `{"Version":%q,"Time":"2026-01-01T00:00:00Z"}`, version),
		"list":            []byte(version + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// forget removes a version from the module cache.
func forget(t *testing.T, cache, version string) {
	if err := os.RemoveAll(filepath.Join(cache, filepath.FromSlash(modulePath)+"@"+version)); err != nil {
		t.Error(err)
	}
	for _, pattern := range []string{"cache/download/" + modulePath + "/@v/" + version + ".*", "cache/download/sumdb/*/lookup/" + modulePath + "@" + version} {
		paths, err := filepath.Glob(filepath.Join(cache, filepath.FromSlash(pattern)))
		if err != nil {
			t.Error(err)
		}
		for _, path := range paths {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
	}
}

// run runs a command and returns what it printed.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
