package gittest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/test/gittest"
)

func example() *gittest.Repo {
	r := gittest.NewRepo("acme/shop")
	r.Commit("main", "Begin", map[string]string{"README.md": "# Shop\n", "test.sh": "#!/bin/sh\necho ok\n"})
	r.Commit("main", "Add code", map[string]string{"src/a/x.go": "package a\n", "src/b.go": "package src\n", "src.txt": "x\n", "src-z/y": "y\n"})
	r.Commit("dev", "Try", map[string]string{"README.md": "# Shop, soon\n"})
	return r
}

func TestRepoSpeaksToGit(t *testing.T) {
	t.Parallel()
	repo := example()
	server, err := gittest.Serve(t.Context(), nil, repo, gittest.NewRepo("acme/empty"))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	url, dir := server.LocalURL(repo), filepath.Join(t.TempDir(), "clone")

	if got := mustGit(t, "ls-remote", "--symref", url, "HEAD"); !strings.Contains(got, "ref: refs/heads/main\tHEAD") {
		t.Errorf("ls-remote does not name the default branch: %q", got)
	}
	mustGit(t, "clone", "--quiet", url, dir)
	mustGit(t, "-C", dir, "fsck", "--strict")
	if got, want := mustGit(t, "-C", dir, "rev-parse", "HEAD"), repo.Head("main"); got != want {
		t.Errorf("cloned %s, want %s", got, want)
	}
	if got, want := mustGit(t, "-C", dir, "ls-tree", "-r", "--name-only", "HEAD"), "README.md\nsrc-z/y\nsrc.txt\nsrc/a/x.go\nsrc/b.go\ntest.sh"; got != want {
		t.Errorf("files are %q, want %q", got, want)
	}
	if info, err := os.Stat(filepath.Join(dir, "test.sh")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("the script is not executable: %v, %v", info, err)
	}
	if got, want := mustGit(t, "-C", dir, "rev-parse", "origin/dev"), repo.Head("dev"); got != want {
		t.Errorf("dev is %s, want %s", got, want)
	}

	want := repo.Commit("main", "More", map[string]string{"new.txt": "new\n"})
	mustGit(t, "-C", dir, "fetch", "--quiet")
	if got := mustGit(t, "-C", dir, "rev-parse", "origin/main"); got != want {
		t.Errorf("fetched %s, want %s", got, want)
	}
	if out, err := git(t, "ls-remote", strings.Replace(url, "shop", "none", 1)); err == nil || !strings.Contains(out, "not found") {
		t.Errorf("a repository that does not exist: %q, %v", out, err)
	}
}

func TestRepoIsDeterministic(t *testing.T) {
	t.Parallel()
	if one, two := example(), example(); one.Head("dev") != two.Head("dev") || one.Head("dev") == "" {
		t.Errorf("the same commits give %q and %q", one.Head("dev"), two.Head("dev"))
	}
}
