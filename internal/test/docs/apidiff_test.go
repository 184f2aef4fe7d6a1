package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/test/testenv"
)

// TestAPIDiff runs .ci/apidiff on a small module with a history.
func TestAPIDiff(t *testing.T) {
	git := testenv.Git(t)
	bin := t.TempDir()
	tool := regexp.MustCompile(`golang\.org/x/exp/cmd/apidiff@[^}]+`).FindString(read(t, ".ci/apidiff"))
	install := exec.CommandContext(t.Context(), "go", "install", tool)
	install.Env = append(os.Environ(), "GOBIN="+bin)
	if out, err := install.CombinedOutput(); err != nil {
		testenv.Missing(t, "needs %s: %v: %s", tool, err, out)
	}
	script, err := filepath.Abs(filepath.Join(root, ".ci/apidiff"))
	if err != nil {
		t.Fatal(err)
	}
	repo := t.TempDir()
	commit := func(files map[string]string, tags ...string) {
		t.Helper()
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(repo, name), []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		run(t, repo, nil, git, "add", "-A")
		run(t, repo, nil, git, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "x")
		for _, tag := range tags {
			run(t, repo, nil, git, "tag", tag)
		}
	}
	check := func(dir string, fails bool, says string, env ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), script)
		cmd.Dir = dir
		cmd.Env = append(append(os.Environ(), "APIDIFF="+filepath.Join(bin, "apidiff"), "CI=", "GOFLAGS="), env...)
		out, err := cmd.CombinedOutput()
		if (err != nil) != fails || !strings.Contains(string(out), says) {
			t.Errorf("it gives %v and says %q, want an error: %v, and %q", err, out, fails, says)
		}
	}

	run(t, repo, nil, git, "init", "-q")
	commit(map[string]string{
		"go.mod": "module example.com/m\n\ngo 1.26\n", "m.go": "package m\n\nfunc F() {}\n",
		"CHANGELOG.md": "## [Unreleased]\n\n### Added\n\n- F\n\n## [0.0.1]\n\n### Changed\n\n- long ago\n",
	})
	check(repo, false, "no tag yet", "CI=true")
	shallow := t.TempDir()
	run(t, shallow, nil, git, "clone", "-q", "--depth=1", "--no-tags", "file://"+repo, ".")
	commit(nil)
	check(shallow, false, "shallow")
	check(shallow, false, "no tag yet", "CI=true")

	commit(nil, "v0.1.0", "release-2")
	check(shallow, false, "shallow")
	check(shallow, true, "fetch them", "CI=true")
	check(repo, false, "compatible with v0.1.0")
	commit(map[string]string{"m.go": "package m\n\nfunc F() {}\n\nfunc G() {}\n"})
	check(repo, false, "compatible with v0.1.0")
	commit(map[string]string{"m.go": "package m\n\nfunc F(int) {}\n"})
	check(repo, true, "F: changed")
	commit(map[string]string{"CHANGELOG.md": "## [Unreleased]\n\n### Changed\n\n- F takes an int\n"})
	check(repo, false, "CHANGELOG.md has the change")
	commit(map[string]string{"CHANGELOG.md": "## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n### Changed\n\n- F takes an int\n\n## [0.1.0]\n"})
	check(repo, false, "CHANGELOG.md has the change") // the commit that is about to be tagged v0.2.0
	commit(map[string]string{"CHANGELOG.md": "## [Unreleased]\n\n## [0.1.0]\n\n### Changed\n\n- long ago\n"})
	check(repo, true, "needs a line")
	commit(nil, "v1.0.0")
	commit(map[string]string{"m.go": "package m\n"})
	check(repo, true, "must not break what v1.0.0 has")
	inside := filepath.Join(repo, "unpacked") // as a source archive in somebody's repository is
	if err := os.Mkdir(inside, 0o777); err != nil {
		t.Fatal(err)
	}
	check(inside, false, "no git repository")
}
