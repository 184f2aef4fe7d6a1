package agent_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// noSpace checks an error of git's on a full disk.
func noSpace(t *testing.T, what string, err error) {
	t.Helper()
	var failed *agent.GitError
	if !errors.As(err, &failed) || !strings.Contains(strings.ToLower(failed.Message), "no space left on device") {
		t.Errorf("%s on a full disk: %T %v", what, err, err)
	}
	t.Logf("%v", err)
}

// fill takes all room of the file system that holds a file, but some bytes, until the file is removed.
func fill(t *testing.T, file string, leave int64) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := io.Copy(f, zeros{})
	if err == nil || os.Truncate(file, max(n-leave, 0)) != nil {
		t.Fatalf("%d bytes did not fill it: %v", n, err)
	}
}

// entries returns all files below a directory of the agent's.
func entries(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if rest := strings.TrimPrefix(path, dir); rest != "/.home" && rest != "/.anonymous" && !strings.HasPrefix(rest, "/.home/") {
			all = append(all, rest)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// large is a commit that does not fit into some KiB.
func large(seed uint64, n int64) string {
	text, _ := io.ReadAll(noise(seed, n))
	return string(text)
}

func TestADiskThatIsFullWhileCloning(t *testing.T) {
	a := agenttest.StartAfter(t, "mkdir mirror; mount -t tmpfs -o size=4m none mirror")
	git := agenttest.NewGitServer(t)
	r := &ready{Client: a.Client(agent.ClientOptions{}), agent: a, git: git}
	r.url = git.Repo("big", map[string]string{"big": large(1, 8<<20)})
	mirror := a.Inside(a.Dir + "/mirror")
	before := entries(t, mirror)
	for range 2 {
		_, err := r.Fetch(testContext(t), agent.Fetch{URL: r.url}, nil)
		noSpace(t, "clone", err)
	}
	if after := entries(t, mirror); after != before {
		t.Errorf("left:\n%s", after)
	}
	r.url = git.Repo("small", map[string]string{"f": "f\n"})
	if m := r.fetch(t, agent.Fetch{}); !m.Cold {
		t.Errorf("%+v", m)
	}
	r.session(t, "s", 10001)
}

func TestADiskThatIsFullWhileFetching(t *testing.T) {
	for _, room := range soaking([]int64{0, 16 << 10}, []int64{0, 4 << 10, 16 << 10, 64 << 10}) {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			r := startOn(t, agenttest.StartAfter(t, "mkdir mirror; mount -t tmpfs -o size=4m none mirror"))
			mirror := r.agent.Inside(r.agent.Dir + "/mirror")
			filler := mirror + "/.home/filler"
			r.session(t, "old", 10001)
			before := entries(t, mirror)

			r.git.Git("small", "checkout", "-q", "-b", "later") // so that HEAD and refs change too
			r.git.Commit("small", map[string]string{"big": large(2, 1<<20)})
			fill(t, filler, room)
			_, err := r.Fetch(testContext(t), agent.Fetch{URL: r.url}, nil)
			noSpace(t, "fetch", err)
			if after := entries(t, mirror); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			r.session(t, "new", 10002)
			for _, s := range []string{"old", "new"} {
				if out, exit := r.run(t, s, "git fsck --full && cat README.md && git status -s"); exit.Code != 0 || out != "hello\n" {
					t.Errorf("%s: %+v %s", s, exit, out)
				}
			}
			os.Remove(filler)
			if m := r.fetch(t, agent.Fetch{Branch: "later"}); m.Cold {
				t.Errorf("a failed fetch has cost the mirror: %+v", m)
			}
		})
	}
}

func TestADiskThatIsFullWhileCheckingOut(t *testing.T) {
	for _, room := range soaking([]int64{0, 64 << 10, 512 << 10}, []int64{0, 8 << 10, 64 << 10, 128 << 10, 512 << 10}) {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			a := agenttest.StartAfter(t, "mkdir sessions; mount -t tmpfs -o size=2m none sessions")
			git := agenttest.NewGitServer(t)
			r := &ready{Client: a.Client(agent.ClientOptions{}), agent: a, git: git}
			r.url = git.Repo("big", map[string]string{"dir/a": "a", "dir/big": large(3, 1<<20), "z": "z"})
			r.fetch(t, agent.Fetch{})
			filler := a.Inside(a.Dir + "/sessions/filler")
			fill(t, filler, room)
			_, err := r.Open(testContext(t), agent.Session{ID: "s", UID: 10001, Dir: "x", URL: r.url})
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), "no space left on device") {
				t.Errorf("Open: %v", err)
			}
			t.Logf("%T %v", err, err)
			if left, _ := os.ReadDir(a.Inside(a.Dir + "/sessions")); len(left) != 1 {
				t.Errorf("left: %v", left)
			}
			if passwd, _ := os.ReadFile(a.Dir + "/etc/passwd"); strings.Contains(string(passwd), "10001") {
				t.Errorf("left: %s", passwd)
			}
			os.Remove(filler)
			r.session(t, "s", 10001)
		})
	}
}
