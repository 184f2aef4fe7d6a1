package orchestrator_test

import (
	"archive/zip"
	"bytes"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
)

// usualCaches are the caches that the package describes, with files of repositories that fill them.
var usualCaches = []struct {
	cache orchestrator.Cache
	files []string
}{
	{orchestrator.GoModules(), []string{"go.sum", "go.work.sum"}},
	{orchestrator.NPM(), []string{"package-lock.json"}},
	{orchestrator.Pip(), []string{"requirements.txt"}},
	{orchestrator.Cargo(), []string{"Cargo.lock"}},
	{orchestrator.Maven(), []string{"pom.xml", "core/pom.xml"}},
}

func TestUsualCachesAreFit(t *testing.T) {
	var all []orchestrator.Cache
	for _, u := range usualCaches {
		all = append(all, u.cache)
		for _, file := range u.files {
			if !slices.ContainsFunc(u.cache.Files, func(pattern string) bool {
				ok, err := path.Match(pattern, file)
				return ok && err == nil
			}) {
				t.Errorf("%s does not fill the cache %q", file, u.cache.Name)
			}
		}
	}
	if at, reason := agent.CheckCaches(all); reason != "" {
		t.Errorf("together, caches%s %s", at, reason)
	}
}

// TestGoModulesAreFilled runs the command of GoModules as the agent does, with a proxy in files.
func TestGoModulesAreFilled(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		testenv.Missing(t, "not tested: there is no go")
	}
	home, checkout, proxy := t.TempDir(), t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir = checkout
		c.Env = []string{"HOME=" + home, "PATH=" + filepath.Dir(tool) + ":" + os.Getenv("PATH"), "GOPROXY=file://" + proxy, "GONOSUMDB=*", "GOTOOLCHAIN=local"}
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	const module = "example.com/a@v1.0.0"
	at := filepath.Join(proxy, "example.com/a/@v")
	write(filepath.Join(at, "v1.0.0.info"), `{"Version":"v1.0.0"}`)
	write(filepath.Join(at, "v1.0.0.mod"), "module example.com/a\n\ngo 1.21\n")
	write(filepath.Join(at, "v1.0.0.zip"), zipOf(t, map[string]string{
		module + "/go.mod": "module example.com/a\n\ngo 1.21\n", module + "/a.go": "package a\n",
	}))
	write(filepath.Join(checkout, "go.mod"), "module example.com/b\n\ngo 1.21\n\nrequire example.com/a v1.0.0\n")
	write(filepath.Join(checkout, "b.go"), "package b\n\nimport _ \"example.com/a\"\n")
	cache := orchestrator.GoModules()
	run(cache.Fill[0], cache.Fill[1:]...)
	filled := filepath.Join(home, cache.Dir)
	if text, err := os.ReadFile(filepath.Join(filled, module, "a.go")); err != nil || !strings.Contains(string(text), "package a") {
		t.Errorf("%q, %v", text, err)
	}
	run("chmod", "-R", "u+w", filled) // so that the test's directory can be removed
}

// zipOf returns an archive of files.
func zipOf(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
