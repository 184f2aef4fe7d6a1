package gittest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
)

// git runs the machine's git without its settings and returns what it said.
func git(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testenv.Git(t), args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustGit(t *testing.T, args ...string) string {
	t.Helper()
	out, err := git(t, args...)
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return out
}

func TestSmartServerSpeaksToGit(t *testing.T) {
	t.Parallel()
	remote := gittest.NewSmartServer(t).Create("owner/name", gittest.Files(map[string]string{"a.txt": "a\n", "bin/run": "#!/bin/sh\necho hi\n"}))
	dir := filepath.Join(t.TempDir(), "clone")

	mustGit(t, "clone", "--quiet", remote.LocalURL(), dir)
	if got := remote.Fetches(); got != 1 {
		t.Errorf("one clone counts as %d fetches", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "bin/run")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("the script is not executable: %v, %v", info, err)
	}

	head := remote.Commit("feature/x", "b.txt", "b\n")
	if got := mustGit(t, "ls-remote", remote.LocalURL(), "feature/x"); !strings.HasPrefix(got, head) {
		t.Errorf("feature/x is %q, want %s", got, head)
	}
	if got := remote.Fetches(); got != 1 {
		t.Errorf("after ls-remote there are %d fetches, want 1", got)
	}
	mustGit(t, "-C", dir, "fetch", "--quiet")
	mustGit(t, "-C", dir, "fetch", "--quiet") // nothing new
	if got := remote.Fetches(); got != 2 {
		t.Errorf("%d fetches, want 2", got)
	}
	if got := mustGit(t, "-C", dir, "rev-parse", "origin/feature/x"); got != head {
		t.Errorf("fetched %s, want %s", got, head)
	}

	remote.DeleteBranch("feature/x")
	if got := strings.Join(remote.Branches(), " "); got != "main" {
		t.Errorf("branches %q, want main", got)
	}

	mustGit(t, "-C", dir, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "pushed")
	mustGit(t, "-C", dir, "push", "--quiet", "origin", "HEAD:main")
	if got, want := remote.Head("main"), mustGit(t, "-C", dir, "rev-parse", "HEAD"); got != want {
		t.Errorf("after a push main is %s, want %s", got, want)
	}
}

func TestSmartServerTakesLargePushes(t *testing.T) {
	t.Parallel()
	remote := gittest.NewSmartServer(t).Create("owner/name", gittest.Empty())
	dir := t.TempDir()
	noise := make([]byte, 3<<20)
	for i, x := 0, uint64(1); i < len(noise); i++ {
		x = x*6364136223846793005 + 1442695040888963407
		noise[i] = byte(x >> 56)
	}
	if err := os.WriteFile(filepath.Join(dir, "noise"), noise, 0o600); err != nil {
		t.Fatal(err)
	}
	mustGit(t, "init", "--quiet", "-b", "main", dir)
	mustGit(t, "-C", dir, "add", "noise")
	mustGit(t, "-C", dir, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "noise")
	mustGit(t, "-C", dir, "push", "--quiet", remote.LocalURL(), "main")
}

func TestSmartServerFaults(t *testing.T) {
	t.Parallel()
	server := gittest.NewSmartServer(t)
	remote := server.Create("owner/name", gittest.Small())
	clone := func() (string, error) {
		return git(t, "clone", "--quiet", "--bare", remote.LocalURL(), filepath.Join(t.TempDir(), "clone"))
	}
	expect := func(what, message string) {
		t.Helper()
		out, err := clone()
		if message == "" && err != nil {
			t.Errorf("%s: clone fails: %s", what, out)
		}
		if message != "" && (err == nil || !strings.Contains(out, message)) {
			t.Errorf("%s: clone says %q (%v), want %q", what, out, err, message)
		}
	}

	remote.RequireCredentials("me", "secret")
	expect("credentials required", "could not read Username")
	with := strings.Replace(remote.LocalURL(), "http://", "http://me:secret@", 1)
	mustGit(t, "ls-remote", with)
	remote.RequireCredentials("", "")

	remote.Refuse(503)
	expect("refused", "503")
	remote.Refuse(0)

	before := remote.Fetches()
	remote.CutAfter(20_000)
	expect("cut off", "fetch-pack: invalid index-pack output")
	remote.CutAfter(0)
	if got := remote.Fetches() - before; got != 1 {
		t.Errorf("a fetch that was cut off counts as %d", got)
	}

	remote.Delay(200 * time.Millisecond)
	begin := time.Now()
	mustGit(t, "ls-remote", remote.LocalURL())
	if took := time.Since(begin); took < 200*time.Millisecond {
		t.Errorf("ls-remote took %v though every answer is delayed", took)
	}
	remote.Delay(0)
	expect("healed", "")
	if _, err := git(t, "ls-remote", strings.Replace(remote.LocalURL(), "name", "other", 1)); err == nil {
		t.Error("a repository that does not exist is served")
	}
}

func TestHistoriesAreDeterministicAndAsLargeAsTheySay(t *testing.T) {
	t.Parallel()
	server := gittest.NewSmartServer(t)
	one, two := server.Create("a/one", gittest.Small()), server.Create("a/two", gittest.Small())
	if one.Head("main") != two.Head("main") || one.Head("dev") != two.Head("dev") {
		t.Error("two repositories of the same history differ")
	}
	if got := strings.Join(one.Branches(), " "); got != "dev main release/1.0" {
		t.Errorf("branches are %s", got)
	}
	count := mustGit(t, "-C", one.Dir(), "rev-list", "--count", "main")
	files := strings.Count(mustGit(t, "-C", one.Dir(), "ls-tree", "-r", "main"), "\n") + 1
	if got := fmt.Sprint(count, " ", files); got != "400 151" {
		t.Errorf("small has %s commits and files, want 400 and 151", got)
	}
	mustGit(t, "-C", one.Dir(), "fsck", "--strict")
}
