package agent_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

// TestWhatASessionMayBeginWith checks what names mean: those of git clone --branch, and those that CI systems use.
func TestWhatASessionMayBeginWith(t *testing.T) {
	r := start(t)
	rev := func(name string) string { return r.git.Git("small", "rev-parse", name+"^{commit}") }
	git := func(args ...string) { r.git.Git("small", args...) }
	git("tag", "light")
	git("tag", "-a", "-m", "x", "v1")
	git("tag", "both")
	r.git.Commit("small", map[string]string{"f": "2\n"})
	git("branch", "both")
	git("branch", "topic/one")
	git("branch", "refs/heads/odd")
	git("tag", "-a", "-m", "x", "of-a-tree", "HEAD^{tree}")
	r.git.Commit("small", map[string]string{"f": "3\n"})
	r.fetch(t, agent.Fetch{})
	first, second, third := rev("light"), rev("refs/heads/both"), rev("HEAD")

	for i, c := range []struct{ name, branch, commit string }{
		{"", "main", third},
		{"main", "main", third},
		{"refs/heads/main", "main", third},
		{"origin/main", "main", third},
		{"refs/remotes/origin/topic/one", "topic/one", second},
		{"heads/topic/one", "topic/one", second},
		{"refs/heads/odd", "refs/heads/odd", second}, // a branch that is called so
		{"both", "both", second},                     // a branch before a tag
		{"refs/tags/both", "", first},
		{"tags/both", "", first},
		{"light", "", first},
		{"v1", "", first},
		{"refs/tags/v1", "", first},
		{first, "", first},
		{strings.ToUpper(second), "", second},
		{second[:7], "", second},
	} {
		co, err := r.Open(testContext(t), agent.Session{ID: fmt.Sprint("s", i), UID: 10001 + i, Dir: "x", URL: r.url, Branch: c.name})
		if err != nil || co.Branch != c.branch || co.Commit != c.commit {
			t.Errorf("%q is %+v, %v; want %q at %s", c.name, co, err, c.branch, c.commit)
			continue
		}
		out, _ := r.run(t, fmt.Sprint("s", i), "git rev-parse HEAD; git symbolic-ref -q HEAD; git status --porcelain; git fsck --full 2>&1")
		want := c.commit + "\n"
		if c.branch != "" {
			want += "refs/heads/" + c.branch + "\n"
		}
		if out != want {
			t.Errorf("%q: the checkout says\n%s\nwant\n%s", c.name, out, want)
		}
	}
	for _, name := range []string{"none", "refs/heads/none", "refs/tags/none", "origin/none", "refs/remotes/other/main", first[:6], "0123456", "of-a-tree", rev("HEAD")[:39] + "x"} {
		_, err := r.Open(testContext(t), agent.Session{ID: "none", UID: 10100, Dir: "x", URL: r.url, Branch: name})
		if !errors.Is(err, agent.ErrBranchNotFound) || strings.Count(err.Error(), name) != 1 {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestACommitThatNoBranchReaches is fetched by its ID, or it is said that the remote does not give it out.
func TestACommitThatNoBranchReaches(t *testing.T) {
	for name, allowed := range map[string]bool{"given out": true, "refused": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			r.git.Git("small", "checkout", "-q", "--detach")
			r.git.Commit("small", map[string]string{"pull": "request\n"})
			commit := r.git.Git("small", "rev-parse", "HEAD")
			r.git.Git("small", "update-ref", "refs/pull/1/head", commit)
			r.git.Git("small", "checkout", "-q", "main")
			if !allowed {
				// With protocol version 2 a server does not refuse existing objects.
				commit = strings.Repeat("5", 40)
			}
			r.fetch(t, agent.Fetch{})
			var told atomic.Bool // else nothing but FetchTimeout bounds a git that says nothing
			m, err := r.Fetch(testContext(t), agent.Fetch{URL: r.url, MaxAge: time.Hour, Branch: commit}, func(p agent.Progress) {
				told.Store(told.Load() || strings.HasPrefix(p.Phase, "Receiving objects"))
			})
			if !allowed {
				if !errors.Is(err, agent.ErrBranchNotFound) || strings.Count(err.Error(), commit) != 1 || !strings.Contains(err.Error(), "does not give it out") {
					t.Fatalf("%+v, %v", m, err)
				}
				return
			}
			if err != nil || !m.Fetched || !told.Load() {
				t.Fatalf("%+v, %v; it told of its progress: %v", m, err, told.Load())
			}
			co, err := r.Open(testContext(t), agent.Session{ID: "a", UID: 10001, Dir: "x", URL: r.url, Branch: commit})
			if err != nil || co.Branch != "" || co.Commit != commit {
				t.Fatalf("%+v, %v", co, err)
			}
			if out, _ := r.run(t, "a", "cat pull"); out != "request\n" {
				t.Error(out)
			}
			if m, err := r.Fetch(testContext(t), agent.Fetch{URL: r.url, MaxAge: time.Hour, Branch: commit}, nil); err != nil || m.Fetched {
				t.Errorf("the commit is there, and it was fetched again: %+v, %v", m, err)
			}
		})
	}
}

// TestARemoteWithoutADefaultBranch has a HEAD that points to nothing, or to a commit.
func TestARemoteWithoutADefaultBranch(t *testing.T) {
	for name, warm := range map[string]bool{"cold": false, "warm": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			dangling := r.git.Repo("dangling", map[string]string{"f": "f\n"})
			r.git.Git("dangling", "branch", "other")
			detached := r.git.Repo("detached", map[string]string{"f": "f\n"})
			r.git.Git("detached", "checkout", "-q", "--detach")
			r.git.Commit("detached", map[string]string{"f": "g\n"})
			atBranch := r.git.Repo("at-branch", map[string]string{"f": "f\n"})
			r.git.Git("at-branch", "branch", "topic")
			breakHEAD := func() {
				r.git.Git("dangling", "branch", "-m", "main", "renamed")
				r.git.Git("dangling", "symbolic-ref", "HEAD", "refs/heads/gone")
				r.git.Git("at-branch", "checkout", "-q", "--detach")
			}
			if !warm {
				breakHEAD()
			}
			for i, url := range []string{dangling, detached, atBranch} {
				one := another(t, r, url)
				one.fetch(t, agent.Fetch{})
				if warm && i == 0 {
					breakHEAD()
				}
				if warm {
					one.fetch(t, agent.Fetch{})
				}
				co, err := one.Open(testContext(t), agent.Session{ID: "a", UID: 10001, Dir: "x", URL: url})
				switch url {
				case dangling:
					if !errors.Is(err, agent.ErrBranchNotFound) || !strings.Contains(err.Error(), "default branch") || !strings.Contains(err.Error(), "SessionRequest.Branch") {
						t.Errorf("dangling: %+v, %v", co, err)
					}
					if co, err := one.Open(testContext(t), agent.Session{ID: "b", UID: 10002, Dir: "x", URL: url, Branch: "other"}); err != nil || co.Branch != "other" {
						t.Errorf("dangling, another branch: %+v, %v", co, err)
					}
				case detached:
					if want := r.git.Git("detached", "rev-parse", "HEAD"); err != nil || co.Branch != "" || co.Commit != want {
						t.Errorf("detached: %+v, %v; want %s", co, err, want)
					}
				default: // git clone takes the branch that has the commit
					if err != nil || co.Branch != "main" {
						t.Errorf("detached at a branch: %+v, %v", co, err)
					}
				}
			}
		})
	}
}

func TestAnEmptyRemoteHasNoOtherBranch(t *testing.T) {
	r := start(t)
	one := another(t, r, r.git.Repo("empty", nil))
	one.fetch(t, agent.Fetch{})
	_, err := one.Open(testContext(t), agent.Session{ID: "a", UID: 10001, Dir: "x", URL: one.url, Branch: "topic"})
	if !errors.Is(err, agent.ErrBranchNotFound) || !strings.Contains(err.Error(), "no commit yet") {
		t.Errorf("%v", err)
	}
	if co, err := one.Open(testContext(t), agent.Session{ID: "a", UID: 10001, Dir: "x", URL: one.url}); err != nil || co.Branch != "main" || co.Commit != "" {
		t.Errorf("%+v, %v", co, err)
	}
}
