package agent_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// another starts an agent, for another repository of the same server.
func another(t *testing.T, r *ready, url string) *ready {
	a := agenttest.Start(t)
	return &ready{Client: a.Client(agent.ClientOptions{}), agent: a, git: r.git, url: url}
}

// TestAShallowRemote gives the same as git clone: a checkout that is as shallow, and whose history ends at the same commit.
func TestAShallowRemote(t *testing.T) {
	r := start(t)
	r.git.Repo("deep", nil)
	commit := func(from, to int) {
		for i := from; i <= to; i++ {
			r.git.Commit("deep", map[string]string{"f": fmt.Sprint(i)})
			r.git.Git("deep", "tag", fmt.Sprint("v", i))
		}
	}
	commit(1, 5)
	deep := "file://" + filepath.Join(r.git.Dir, "deep")
	r.git.Git("", "clone", "-q", "--bare", "--depth", "2", deep, "shallow")
	one := another(t, r, r.git.URL+"/shallow")
	sessions := 0
	check := func(what string, commits int, shallow bool, tag string) string {
		t.Helper()
		one.fetch(t, agent.Fetch{})
		id := fmt.Sprint("s", sessions)
		sessions++
		if _, err := one.Open(testContext(t), agent.Session{ID: id, UID: 10000 + sessions, Dir: "x", URL: one.url}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		out, exit := one.run(t, id, "set -e; git log --format=%h | wc -l; git rev-parse --is-shallow-repository; git describe --tags; git blame -s f >/dev/null; git fsck --full --no-dangling 2>&1; git fetch -q 2>&1")
		if want := fmt.Sprintf("%d\n%v\n%s\n", commits, shallow, tag); exit.Code != 0 || out != want {
			t.Errorf("%s: %+v\n%s\nwant\n%s", what, exit, out, want)
		}
		return id
	}
	fetch := func(args ...string) {
		r.git.Git("shallow", append(append([]string{"fetch", "-q", "--update-shallow"}, args...), deep, "+refs/heads/*:refs/heads/*", "+refs/tags/v8:refs/tags/v8")...)
	}
	before := check("cold", 2, true, "v5")
	commit(6, 8)
	fetch("--depth", "1")
	check("the boundary has moved up", 1, true, "v8")
	fetch("--depth", "4")
	check("the boundary has moved down", 4, true, "v8")
	fetch("--unshallow")
	check("the remote is whole", 8, false, "v8")
	if out, exit := one.run(t, before, "git log --format=%h | wc -l; git fsck --full --no-dangling 2>&1"); exit.Code != 0 || out != "2\n" {
		t.Errorf("a session from before: %s", out)
	}
	if _, err := os.Stat(filepath.Join(one.agent.Dir, "mirror/repo.git/shallow")); err == nil {
		t.Error("the mirror is still shallow")
	}
}

// TestACommitOfAShallowRemote that no branch reaches has a history that ends elsewhere than the branches' histories.
func TestACommitOfAShallowRemote(t *testing.T) {
	r := start(t)
	r.git.Repo("deep", nil)
	for i := range 3 {
		r.git.Commit("deep", map[string]string{"f": fmt.Sprint(i)})
	}
	deep := "file://" + filepath.Join(r.git.Dir, "deep")
	r.git.Git("", "clone", "-q", "--bare", "--depth", "2", deep, "shallow")
	r.git.Git("shallow", "config", "uploadpack.allowAnySHA1InWant", "true")
	one := another(t, r, r.git.URL+"/shallow")
	one.fetch(t, agent.Fetch{})
	r.git.Git("deep", "checkout", "-q", "-b", "side")
	for i := range 3 {
		r.git.Commit("deep", map[string]string{"side": fmt.Sprint(i)})
	}
	side := r.git.Git("deep", "rev-parse", "HEAD")
	r.git.Git("shallow", "fetch", "-q", "--update-shallow", "--depth", "2", deep, "side")
	one.fetch(t, agent.Fetch{Branch: side})
	if _, err := one.Open(testContext(t), agent.Session{ID: "a", UID: 10001, Dir: "x", URL: one.url, Branch: side}); err != nil {
		t.Fatal(err)
	}
	out, exit := one.run(t, "a", "git log --format=%h 2>&1 | wc -l; git log -1 --format=%H; git fsck --full --no-dangling 2>&1")
	if want := "2\n" + side + "\n"; exit.Code != 0 || out != want {
		t.Errorf("%+v\n%s\nwant\n%s", exit, out, want)
	}
}

// oldGit is a git that refuses options which git before 2.29 does not know.
const oldGit = `#!/bin/sh
for arg; do
	case $arg in
	--no-write-fetch-head | --write-fetch-head | --object-format* | --negotiate-only | --refetch | --no-lazy-fetch | --porcelain | --stdin | \
		--ref-format* | --revision* | --bundle-uri* | --also-filter-submodules | --path-format* | --atomic | --set-upstream | --show-forced-updates | --no-auto-maintenance)
		echo "error: unknown option '${arg#--}'" >&2
		exit 129 ;;
	esac
done
for last; do :; done
if [ "$last" = version ]; then
	echo "git version VERSION"
	exit
fi
exec REAL "$@"
`

// TestAnOldGit works from the first session to the last, or is refused at once.
func TestAnOldGit(t *testing.T) {
	agenttest.Need(t)
	server := agenttest.NewGitServer(t)
	url := server.Repo("small", map[string]string{"f": "f\n"})
	for version, works := range map[string]bool{"2.25.1": true, "2.20.1": true, "2.19.6": false, "1.8.3.1": false} {
		t.Run(version, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "oldgit")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			os.Chmod(dir, 0o755)
			real, err := exec.LookPath("git")
			if err != nil {
				t.Fatal(err)
			}
			script := strings.NewReplacer("VERSION", version, "REAL", real).Replace(oldGit)
			if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			a := agenttest.Start(t)
			r := &ready{Client: a.Client(agent.ClientOptions{}), agent: a, git: server, url: url}
			if !works {
				_, err := r.Fetch(testContext(t), agent.Fetch{URL: url}, nil)
				if err == nil || !strings.Contains(err.Error(), version) || !strings.Contains(err.Error(), "2.20") {
					t.Errorf("%v", err)
				}
				return
			}
			r.fetch(t, agent.Fetch{})
			r.session(t, "a", 10001)
			server.Commit("small", map[string]string{"f": version})
			r.fetch(t, agent.Fetch{})
			r.session(t, "b", 10002)
			r.agent.Restart()
			r.Client = r.agent.Client(agent.ClientOptions{})
			if m := r.fetch(t, agent.Fetch{}); m.Cold {
				t.Error("the mirror was cloned again")
			}
			r.session(t, "c", 10003)
			if out, exit := r.run(t, "c", "cat f; git status --short; git fsck --full"); exit.Code != 0 || out != version {
				t.Errorf("%+v %s", exit, out)
			}
		})
	}
}
