package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent"
)

// withSubmodules makes submodules: lib in small, and deep in lib. It returns an agent whose mirror has them.
func withSubmodules(t *testing.T) *ready {
	t.Helper()
	r := private(t)
	r.git.Repo("deep", map[string]string{"deep.txt": "deep\n"})
	lib := r.git.Repo("lib", map[string]string{"lib.txt": "lib\n"})
	r.git.Git("lib", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", r.git.Dir+"/deep", "deep")
	r.git.Git("lib", "config", "-f", ".gitmodules", "submodule.deep.url", "../../deep/.git") // relative to lib's own
	r.git.Git("lib", "commit", "-qam", "deep")
	r.git.Git("small", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", r.git.Dir+"/lib", "lib")
	r.git.Git("small", "config", "-f", ".gitmodules", "submodule.lib.url", lib)
	r.git.Git("small", "commit", "-qam", "lib")
	r.fetch(t, agent.Fetch{Username: "me", Password: "right"})
	return r
}

// TestSubmodules are checked out with the credential that is asked for, and only if the session wants them.
func TestSubmodules(t *testing.T) {
	r := withSubmodules(t)
	asked := answering(t, r.Client, func(agent.Question) agent.Answer { return agent.Answer{Username: "me", Password: "right"} })
	s := agent.Session{ID: "s", UID: 10001, Dir: "x", URL: r.url, Proven: true, Credentials: true, Submodules: true}
	if _, err := r.Open(testContext(t), s); err != nil {
		t.Fatal(err)
	}
	urls := map[string]bool{}
	for _, q := range asked() {
		urls[q.URL] = true
		if q.Push || q.Session != "s" {
			t.Errorf("asked %+v", q)
		}
	}
	if !urls[r.git.URL+"/lib/.git"] || !urls[r.git.URL+"/deep/.git"] {
		t.Errorf("asked for %v", urls)
	}
	out, exit := r.run(t, "s", `cat lib/lib.txt lib/deep/deep.txt; git status --porcelain; git -C lib status --porcelain; find lib ! -user $(id -u); git submodule update --init --recursive 2>&1; git -C lib fetch -q 2>&1`)
	if exit.Code != 0 || out != "lib\ndeep\n" {
		t.Errorf("%+v, %s", exit, out)
	}
	s.ID, s.UID, s.Submodules = "plain", 10002, false
	if _, err := r.Open(testContext(t), s); err != nil {
		t.Fatal(err)
	}
	if out, _ := r.run(t, "plain", "ls lib"); out != "" {
		t.Errorf("a session that wants none has %s", out)
	}
}

// TestSubmodulesThatCannotBeHad: the session is not opened, and nothing of it is left.
func TestSubmodulesThatCannotBeHad(t *testing.T) {
	r := withSubmodules(t)
	answering(t, r.Client, func(q agent.Question) agent.Answer {
		if strings.Contains(q.URL, "/lib/") {
			return agent.Answer{Refusal: "no lib for you"}
		}
		return agent.Answer{Username: "me", Password: "right"}
	})
	s := agent.Session{ID: "s", UID: 10001, Dir: "x", URL: r.url, Proven: true, Credentials: true, Submodules: true}
	fails := func(what, want string) {
		t.Helper()
		_, err := r.Open(testContext(t), s)
		var failed *agent.GitError
		if !errors.As(err, &failed) || failed.Op != "submodule" || !strings.Contains(failed.Message, want) {
			t.Errorf("%s: %v", what, err)
		}
		if left, err := os.ReadDir(r.agent.Inside(filepath.Join(r.agent.Dir, "sessions"))); err != nil || len(left) != 0 {
			t.Errorf("%s: left is %v, %v", what, left, err)
		}
		if open, err := r.Sessions(testContext(t)); err != nil || len(open) != 0 {
			t.Errorf("%s: open are %v, %v", what, open, err)
		}
	}
	fails("a refused submodule", "no lib for you")
	for what, url := range map[string]string{"a path": r.git.Dir + "/lib", "a file": "file://" + r.git.Dir + "/lib", "a program": "ext::sh -c id", "another transport": "git://host.invalid/x"} {
		r.git.Git("small", "config", "-f", ".gitmodules", "submodule.lib.url", url)
		r.git.Git("small", "commit", "-qam", what)
		if _, err := r.Fetch(testContext(t), agent.Fetch{URL: r.url, Username: "me", Password: "right"}, nil); err != nil {
			continue // git has refused it with the objects
		}
		fails(what, "not allowed")
	}
}

// TestLFSWithoutItsProgram says what the image lacks.
func TestLFSWithoutItsProgram(t *testing.T) {
	r := start(t)
	s := agent.Session{ID: "s", UID: 10001, Dir: "x", URL: r.url, LFS: true}
	_, err := r.Open(testContext(t), s)
	if _, found := os.Stat("/usr/bin/git-lfs"); found == nil {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var failed *agent.GitError
	if !errors.As(err, &failed) || !strings.Contains(failed.Message, "the image has no git-lfs") {
		t.Errorf("%v", err)
	}
}
