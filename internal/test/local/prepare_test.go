package local_test

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// prepares returns a pool whose workspaces are prepared by a script, and a channel of what becomes of them.
func prepares(t *testing.T, p orchestrator.Prepare) (*local.Pool, <-chan berth.Event) {
	said := make(chan berth.Event, 1000)
	return local.New(t, berth.Config{
		Env:        map[string]string{"POOL": "of the pool"},
		PrepareFor: func(naming.Repository) orchestrator.Prepare { return p },
		OnEvent: func(e berth.Event) {
			if e.Type == berth.EventPrepared {
				said <- e
			}
		},
		MirrorMaxAge: time.Nanosecond,
	}), said
}

// isPrepared waits until a workspace is prepared.
func isPrepared(t *testing.T, said <-chan berth.Event) {
	t.Helper()
	select {
	case e := <-said:
		if e.Err != nil || !strings.HasPrefix(e.Message, "on ") {
			t.Fatalf("%q, %v", e.Message, e.Err)
		}
	case <-t.Context().Done():
		t.Fatal("nothing was prepared")
	}
}

const prepareScript = `set -e
mkdir -p dep/bin ~/.cache/deps
echo one > dep/lib; printf '#!/bin/sh\necho ran\n' > dep/bin/tool; chmod 755 dep/bin/tool; ln -s ../lib dep/bin/lib; ln -s /bin/sh dep/sh
echo deps > ~/.cache/deps/f
echo changed >> README.md; rm lock.txt
echo untracked > later; mkdir both; echo untracked > both/own
{ id -u; env; ls -d ~/* ~/.[a-z]* || true; git config --list; } > dep/seen`

// TestLocalPreparedWorkspace lives through a prepared workspace on the real engine: it is made beside the first session, and the next
// ones begin with it as with files of their own. Git sees a clean checkout. What a session does to it is seen by no other session.
func TestLocalPreparedWorkspace(t *testing.T) {
	t.Parallel()
	l, said := prepares(t, orchestrator.Prepare{Run: [][]string{{"sh", "-c", prepareScript}}, Files: []string{"lock.txt"}, Dirs: []string{".cache/deps"}})
	remote := l.Git.Create("org/prepared", gittest.Small())
	remote.Commit("main", "lock.txt", "1\n")
	remote.Commit("main", ".gitignore", "dep\nlater\nboth\n")
	first, err := l.CreateSession(t.Context(), berth.SessionRequest{
		TaskID: "first", UserID: "user", Repository: remote.URL(), Env: map[string]string{"SECRET": "planted-secret"},
	})
	if err != nil {
		t.Fatal(err)
	}
	local.Sh(t, first, "mkdir -p dep && echo planted-secret > dep/lib && git config user.note planted-secret")
	isPrepared(t, said)
	if got := local.Sh(t, first, "cat dep/lib; ls dep ~/.cache/deps 2>&1 | grep -c -e bin -e 'No such'"); got != "planted-secret\n1" {
		t.Errorf("the session that was there before has %q", got)
	}
	second, third := l.Create("second", remote.URL(), ""), l.Create("third", remote.URL(), "")
	const look = `git status --porcelain; cat dep/lib dep/bin/lib ~/.cache/deps/f; dep/bin/tool; dep/sh -c 'echo linked'; cat lock.txt
		stat -c %U dep/lib dep/bin ~/.cache/deps/f | sort -u | grep -c "^$(id -un)$"; cat both/own; git fsck 2>&1 | grep -v notice; touch dep/mine ~/.cache/deps/mine`
	const want = "one\none\ndeps\nran\nlinked\n1\n1\nuntracked"
	if got := local.Sh(t, second, look); got != want {
		t.Errorf("the second session has %q", got)
	}
	seen := local.Sh(t, second, "cat dep/seen")
	if !strings.HasPrefix(seen, "9997\n") || !strings.Contains(seen, "POOL=of the pool") || strings.Contains(seen, "planted") {
		t.Errorf("the commands saw %s", seen)
	}
	local.Sh(t, second, `echo evil > dep/lib && echo evil > ~/.cache/deps/f && chmod 777 dep && mv dep/bin dep/moved && rm dep/sh && ln -s /evil dep/sh &&
		git gc -q && git commit -q --allow-empty -m x && git rebase -q HEAD~1 && rm -rf both`)
	if got := local.Sh(t, third, look); got != want {
		t.Errorf("the third session has %q", got)
	}
	if got := local.Sh(t, third, "ls /berth/mirror/.prepared 2>&1 | grep -c denied; grep -r planted-secret dep ~/.cache/deps both later; true"); got != "1" {
		t.Errorf("the layers are in reach, or hold what a task has planted: %s", got)
	}

	// On a newer commit the layer lies below the files that the commit has.
	for name, content := range map[string]string{"later": "of the commit\n", "both/new": "new\n", "dep/lib": "tracked\n"} {
		remote.Commit("main", name, content)
	}
	fourth := l.Create("fourth", remote.URL(), "")
	if got := local.Sh(t, fourth, "git status --porcelain; cat later both/own both/new dep/lib; dep/bin/tool"); got != "of the commit\nuntracked\nnew\ntracked\nran" {
		t.Errorf("on a newer commit a session has %q", got)
	}
	if s := l.Stats(); s.Prepared != 3 || s.Unprepared != 1 || s.Containers.Prepared != 1 {
		t.Errorf("%d sessions began with a workspace, %d without, and %d were prepared", s.Prepared, s.Unprepared, s.Containers.Prepared)
	}
}
