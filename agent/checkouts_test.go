package agent_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// tree waits for the files of the commit that a branch of "small" is at.
func (r *ready) tree(t *testing.T) string {
	t.Helper()
	dir := r.agent.Inside(filepath.Join(r.agent.Dir, "sessions/.trees", r.git.Git("small", "rev-parse", "HEAD")))
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		if time.Now().After(deadline) {
			t.Fatalf("no tree was made: %v", globbed(filepath.Dir(dir)+"/*"))
		}
	}
}

func shell(script string) (string, error) {
	out, err := exec.Command("sh", "-c", script).CombinedOutput()
	return string(out), err
}

// TestATreeIsWhatGitChecksOut, under a uid that no session has, and nothing else of its making is left.
func TestATreeIsWhatGitChecksOut(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := startOn(t, agenttest.Start(t, "-refuse-checkouts"))
		r.git.Commit("small", map[string]string{"run.sh": "#!/bin/sh\n", "deep/er/file": "x", "with space": "y"})
		os.Chmod(filepath.Join(r.git.Dir, "small", "run.sh"), 0o755)
		os.Symlink("deep/er", filepath.Join(r.git.Dir, "small", "link"))
		r.git.Git("small", "add", ".")
		r.git.Git("small", "commit", "-q", "-m", "links")
		r.fetch(t, agent.Fetch{})
		r.session(t, "first", 10001)
		tree := r.tree(t)
		const look = "find . -path ./.git -prune -o -printf '%p %y %m %l\\n' | sort | grep -v '^[.] '"
		want, exit := r.run(t, "first", look)
		if exit.Code != 0 || !strings.Contains(want, "./run.sh f 755") || !strings.Contains(want, "./link l") {
			t.Fatal(want)
		}
		out, err := shell("cd " + tree + "/files && " + look)
		if err != nil || out != want {
			t.Errorf("the tree has\n%s\nthe checkout has\n%s\n%v", out, want, err)
		}
		out, err = shell("cd " + tree + " && find files ! -uid 9997; stat -c '%u %a' . .. index; ls ../..")
		if want := "0 700\n0 700\n0 644\nfirst\n"; err != nil || out != want {
			t.Errorf("got %q, want %q, %v", out, want, err)
		}
		if left := processesOf(r, layerUID); len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
	})
}

// TestACheckoutThatCannotBeMounted is written by git, as all checkouts are afterwards.
func TestACheckoutThatCannotBeMounted(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := startOn(t, agenttest.Start(t, "-refuse-checkouts"))
		if i, err := r.Isolation(testContext(t)); err != nil || !i.Checkouts || i.Copies != "" {
			t.Errorf("at first: %+v, %v", i, err)
		}
		r.session(t, "first", 10001)
		r.tree(t)
		for n := range 2 {
			id := fmt.Sprint("next", n)
			r.session(t, id, 10002+n)
			if out, exit := r.run(t, id, "git status --porcelain; cat README.md; echo x > README.md; git status --porcelain"); out != "hello\n M README.md\n" {
				t.Errorf("%q %+v", out, exit)
			}
		}
		if i, err := r.Isolation(testContext(t)); err != nil || i.Checkouts || !strings.Contains(i.Copies, "a test refuses") {
			t.Errorf("afterwards: %+v, %v", i, err)
		}
		if log, err := os.ReadFile(r.agent.Log); err != nil || strings.Count(string(log), "a checkout could not be mounted") != 1 {
			t.Errorf("the log says %s, %v", log, err)
		}
		for n := range 2 {
			if err := r.CloseSession(testContext(t), fmt.Sprint("next", n), 10002+n); err != nil {
				t.Error(err)
			}
		}
		if left := places(r.agent); len(left) != 1 {
			t.Errorf("left: %v", left)
		}
	})
}

// TestWithoutAMounterGitWritesEachCheckout, and the agent says so.
func TestWithoutAMounterGitWritesEachCheckout(t *testing.T) {
	test := func(t *testing.T) {
		r := start(t)
		r.session(t, "first", 10001)
		if i, err := r.Isolation(testContext(t)); err != nil || i.Checkouts || i.Copies == "" {
			t.Errorf("%+v, %v", i, err)
		}
		if trees := globbed(r.agent.Inside(r.agent.Dir + "/sessions/.trees")); len(trees) > 0 {
			t.Error("a tree was made")
		}
	}
	t.Run("alone", test)
	inRooms(t, test)
}

// TestATreeWithFiltersIsNotMade: what a filter of the image makes of a file may depend on the session.
func TestATreeWithFiltersIsNotMade(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := startOn(t, agenttest.StartAfter(t, `printf '[filter "mark"]\n\tsmudge = "cat; id -u"\n\tclean = head -n 1\n' > gitconfig
			cp -a /etc image && mv gitconfig image/ && mount --bind image /etc`, "-refuse-checkouts"))
		r.git.Commit("small", map[string]string{".gitattributes": "marked filter=mark\n", "marked": "text\n"})
		r.fetch(t, agent.Fetch{})
		for n := range 2 {
			id := fmt.Sprint("s", n)
			r.session(t, id, 10001+n)
			if out, exit := r.run(t, id, "cat marked; git status --porcelain"); out != fmt.Sprintf("text\n%d\n", 10001+n) {
				t.Errorf("%s has %q, %+v", id, out, exit)
			}
		}
		const says = "the image configures filter.mark.smudge"
		for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			log, err := os.ReadFile(r.agent.Log)
			if err == nil && strings.Contains(string(log), says) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the log does not say so: %s, %v", log, err)
			}
		}
		if trees := globbed(r.agent.Inside(r.agent.Dir + "/sessions/.trees/[0-9a-f]*")); len(trees) > 0 {
			t.Errorf("there are %v", trees)
		}
	})
}

// TestATreeInTheMakingEndsWithTheAgent, which leaves nothing of it for the next one.
func TestATreeInTheMakingEndsWithTheAgent(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		a := agenttest.StartAfter(t, `mkdir -p image && cp -a /etc/. image && mount --bind image /etc && printf '%s\n' '[filter "lfs"]' '	clean = cat' \
			"	smudge = \"while test -e $PWD/held && test \$(id -u) = 9997; do sleep 0.01; done; cat\"" > /etc/gitconfig`, "-refuse-checkouts")
		r := startOn(t, a)
		held := a.Dir + "/held"
		if err := os.WriteFile(held, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		r.git.Commit("small", map[string]string{".gitattributes": "marked filter=lfs\n", "marked": "text\n"})
		r.fetch(t, agent.Fetch{})
		r.session(t, "first", 10001)
		for deadline := time.Now().Add(patience); len(globbed(a.Inside(a.Dir+"/sessions/tree-*/tree/.git/index.lock"))) == 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no tree is being made: %v", globbed(a.Inside(a.Dir+"/sessions/.*/*")))
			}
		}
		a.Restart("-refuse-checkouts")
		if left, err := os.ReadDir(a.Inside(a.Dir + "/sessions")); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
		if left := processesOf(r, layerUID); len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
		os.Remove(held)
		r.Client = a.Client(agent.ClientOptions{})
		r.session(t, "next", 10001)
		r.tree(t)
	})
}
