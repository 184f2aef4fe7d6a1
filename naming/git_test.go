package naming_test

import (
	"context"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/test/need"
	"github.com/berth-go/berth/naming"
	"github.com/google/go-cmp/cmp"
)

// git returns a function that runs git in an empty directory outside of any
// repository, without the user's configuration, and with env besides.
func git(t testing.TB, env ...string) func(args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("git")
	if err != nil {
		need.Missing(t, "needs git: %v", err)
	}
	dir := t.TempDir()
	env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CEILING_DIRECTORIES=" + filepath.Dir(dir),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
	}, env...)
	return func(args ...string) (string, error) {
		cmd := exec.CommandContext(context.Background(), path, args...)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
}

// TestGitReadsURL lists a repository over http by the URL that ParseRemote
// makes of a remote whose spelling git alone would not take.
func TestGitReadsURL(t *testing.T) {
	run := git(t)
	root := t.TempDir()
	must := func(args ...string) string {
		t.Helper()
		out, err := run(args...)
		if err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
		return out
	}
	dir := filepath.Join(root, "scm", "my project", "caf\u00e9.git")
	must("init", "--quiet", "--bare", dir)
	tree := must("-C", dir, "mktree", "--missing") // of no input: the empty tree
	commit := must("-C", dir, "-c", "user.name=n", "-c", "user.email=e", "commit-tree", "-m", "m", tree)
	must("-C", dir, "update-ref", "refs/heads/main", commit)

	backend := filepath.Join(must("--exec-path"), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		need.Missing(t, "needs a git that can serve http: %v", err)
	}
	server := httptest.NewServer(&cgi.Handler{Path: backend, Env: []string{
		"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	}})
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")

	remote := "git+HTTP://t0ken:x@" + address + "/scm/my%20project/caf\u00e9.git/?ref=main#dir"
	r, err := naming.ParseRemote(remote)
	if err != nil {
		t.Fatal(err)
	}
	if want := address + "/my project/caf\u00e9"; r.Repository.String() != want {
		t.Errorf("got %s, want %s", r.Repository, want)
	}
	if out := must("ls-remote", "--", r.URL, "refs/heads/main"); !strings.HasPrefix(out, commit) {
		t.Errorf("git ls-remote %s: %s, want %s", r.URL, out, commit)
	}
}

// TestGitCallsSSH shows what git makes of the URL for ssh: which host, port and
// user it calls, and which path it asks for.
func TestGitCallsSSH(t *testing.T) {
	out := filepath.Join(t.TempDir(), "args")
	ssh := filepath.Join(t.TempDir(), "ssh")
	script := "#!/bin/sh\nprintf '%s\\n' \"$@\" >" + out + "\nexit 1\n"
	if err := os.WriteFile(ssh, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	run := git(t, "GIT_SSH="+ssh, "GIT_SSH_VARIANT=ssh")
	for _, c := range []struct {
		remote string
		want   []string
	}{
		{"git@host.xz:o/r.git?x#y", []string{"git@host.xz", "git-upload-pack 'o/r.git'"}},
		{"john@doe.org@host.xz:/o/r", []string{"john@doe.org@host.xz", "git-upload-pack '/o/r'"}},
		{"host.xz:path%20to/r", []string{"host.xz", "git-upload-pack 'path%20to/r'"}},
		{"[user@host.xz:0123]:src", []string{"-p", "123", "user@host.xz", "git-upload-pack 'src'"}},
		{"[::1]:repo", []string{"::1", "git-upload-pack 'repo'"}},
		{"user@[::1]:repo", []string{"user@::1", "git-upload-pack 'repo'"}},
		{"git+ssh://git:pass@host.xz:22/o/my%20repo/", []string{"-p", "22", "git@host.xz", "git-upload-pack '/o/my repo'"}},
		{"ssh://john%40doe.org@host.xz/~jane/r", []string{"john@doe.org@host.xz", "git-upload-pack '~jane/r'"}},
		{"ssh://alice@host.xz/~/r", []string{"alice@host.xz", "git-upload-pack '~/r'"}},
		{"alice@host.xz:~/r", []string{"alice@host.xz", "git-upload-pack '~/r'"}},
		{"alice@host.xz:r", []string{"alice@host.xz", "git-upload-pack 'r'"}},
		{"ssh://[user@::1]/caf\u00e9", []string{"user@::1", "git-upload-pack '/caf\u00e9'"}},
		{"ssh://user@[::1]:2222/r", []string{"-p", "2222", "user@::1", "git-upload-pack '/r'"}},
		{"ssh://::1/r", []string{"::1", "git-upload-pack '/r'"}},
	} {
		r, err := naming.ParseRemote(c.remote)
		if err != nil {
			t.Errorf("%q: %v", c.remote, err)
			continue
		}
		if msg, err := run("-c", "protocol.version=0", "ls-remote", "--", r.URL); err == nil {
			t.Errorf("git ls-remote %s succeeded without a server: %s", r.URL, msg)
		}
		args, err := os.ReadFile(out)
		if err != nil {
			t.Errorf("%q: git did not call ssh for %s: %v", c.remote, r.URL, err)
			continue
		}
		if diff := cmp.Diff(c.want, strings.Split(strings.TrimSpace(string(args)), "\n")); diff != "" {
			t.Errorf("%q: git ls-remote %s (-want +got):\n%s", c.remote, r.URL, diff)
		}
		if err := os.Remove(out); err != nil {
			t.Fatal(err)
		}
	}
}
