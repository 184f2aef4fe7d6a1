package local_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
)

// trees lists the commits whose files are ready in a container.
func trees(l *local.Pool, container string) string {
	return strings.ReplaceAll(l.Inside(container, "ls /sessions/.trees 2>/dev/null | grep -vE '^(new|old)-'"), "\r", "")
}

// waitTree waits until the files of a commit are ready. The test ends if checkouts cannot be mounted here.
func waitTree(l *local.Pool, s *berth.Session) {
	l.T.Helper()
	i := s.Info()
	if i.Instance.Isolation != berth.IsolationRooms {
		testenv.Missing(l.T, "needs an engine with rooms: %s", i.Instance.IsolationReason)
	}
	commit := local.Sh(l.T, s, "git rev-parse HEAD")
	for deadline := time.Now().Add(5 * time.Minute); !strings.Contains(trees(l, i.Container.ID), commit); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.T.Fatalf("the files of %s are not ready; there are %q", commit, trees(l, i.Container.ID))
		}
	}
}

// isMounted reports whether a session's checkout is a mount.
func isMounted(t testing.TB, s *berth.Session) bool {
	t.Helper()
	return local.Sh(t, s, "stat -f -c %T .") == "overlayfs"
}

// gitWork is what a task does with git over a tree. Each prints what is to happen.
var gitWork = []struct{ rule, script, want string }{
	{"it is clean at once", "git status --porcelain", ""},
	{"without a look at a file's content", "git diff-files --raw; git diff-index HEAD", ""},
	{"all files are its own", "find . ! -user $(id -un) | wc -l", "0"},
	{"it is whole", "git fsck --no-progress --no-dangling", ""},
	{"changes are found", "echo x >> README.md; rm pkg00/part0/file00000.go; chmod +x pkg00/part0/file00001.go; echo y > new; git status --porcelain",
		"M README.md\n D pkg00/part0/file00000.go\n M pkg00/part0/file00001.go\n?? new"},
	{"they are undone", "git checkout -q . && git clean -qfd && git status --porcelain", ""},
	{"a directory is renamed", "git mv pkg00 renamed && git status --porcelain | grep -vc '^R  pkg00/part0/file.* -> renamed/part0/file' || true", "0"},
	{"and committed", "git -c user.name=a -c user.email=a@b commit -qm renamed && git status --porcelain && git ls-files | grep -c ^renamed/", "20"},
	{"a rebase", "git -c user.name=a -c user.email=a@b rebase -q --onto HEAD~3 HEAD~1 && git status --porcelain && git log --format=%s -1", "renamed"},
	{"another branch", "git checkout -q dev && cat dev.txt && git checkout -q - && git status --porcelain", "only on dev"},
	{"a stash", "echo z > README.md && git -c user.name=a -c user.email=a@b stash -q && git status --porcelain && git stash pop -q && cat README.md && git checkout -q .", "z"},
	{"it collects garbage", "git gc -q && git fsck --no-progress --no-dangling && git status --porcelain", ""},
	{"a worktree of its own", "git worktree add -q --detach ~/other HEAD && git -C ~/other status --porcelain", ""},
	{"a reset", "git reset -q --hard origin/main && git status --porcelain && ls -d pkg00", "pkg00"},
}

// TestLocalCheckoutsShareTheFilesOfACommit works with git in checkouts that are mounts over one tree, in two sessions that change what
// a third one reads.
func TestLocalCheckoutsShareTheFilesOfACommit(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{})
	remote := l.Git.Create("org/repo", gittest.Small())
	first := l.Create("first", remote.URL(), "")
	if got := local.Sh(t, first, "git status --porcelain"); got != "" {
		t.Errorf("the first session is not clean: %q", got)
	}
	waitTree(l, first)
	reader := l.Create("reader", remote.URL(), "")
	const all = "git ls-files -s | md5sum; find . -path ./.git -prune -o -type f -exec cat {} + | md5sum; find . -path ./.git -prune -o -printf '%p %m %l %u\n' | sed 's/berth[0-9]*//' | sort | md5sum"
	read := local.Sh(t, reader, all)
	if plain := local.Sh(t, first, all); plain != read {
		t.Errorf("a mounted checkout is\n%s\none that git has written\n%s", read, plain)
	}
	for _, task := range []string{"second", "third"} {
		s := l.Create(task, remote.URL(), "")
		if !isMounted(t, s) || isMounted(t, first) {
			t.Errorf("%s: its checkout is no mount, or that of the first session is", task)
		}
		for _, g := range gitWork {
			if got := local.Sh(t, s, g.script); got != g.want {
				t.Errorf("%s: %s: got %q, want %q", task, g.rule, got, g.want)
			}
		}
		local.Sh(t, s, "rm -rf ./* && git status --porcelain | grep -c ^.D")
	}
	if got := local.Sh(t, reader, all+"; git status --porcelain"); got != read {
		t.Errorf("another session reads\n%s\nand read\n%s", got, read)
	}
	// A commit of its own, with the branch, comes with a tree of its own.
	dev := l.Create("dev", remote.URL(), "dev")
	if got := local.Sh(t, dev, "cat dev.txt; git status --porcelain; git branch --show-current"); got != "only on dev\ndev" {
		t.Errorf("on another branch: %q", got)
	}
}

// TestLocalALargeCheckoutIsMadeOnce for sessions that come at once, and ends without its files being removed first.
func TestLocalALargeCheckoutIsMadeOnce(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{})
	files := make(map[string]string)
	for n := range 1500 {
		files[fmt.Sprintf("dir%d/file%d", n%30, n)] = fmt.Sprint(n)
	}
	url := l.Git.Create("org/large", gittest.Files(files)).URL()
	sessions := make(chan *berth.Session)
	const tasks = 4
	for n := range tasks {
		go func() {
			s, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: fmt.Sprint("task", n), UserID: "user", Repository: url})
			if err != nil {
				t.Error(err)
			}
			sessions <- s
		}()
	}
	var all []*berth.Session
	for range tasks {
		if s := <-sessions; s != nil {
			all = append(all, s)
		}
	}
	if len(all) < tasks {
		t.FailNow()
	}
	waitTree(l, all[0])
	for _, s := range all {
		if got := local.Sh(t, s, "git status --porcelain; git ls-files | wc -l"); got != "1500" || !isMounted(t, s) {
			t.Errorf("a session has %s files; its checkout is a mount: %t", got, isMounted(t, s))
		}
	}
	container := all[0].Info().Container.ID
	if got := trees(l, container); strings.Contains(got, "\n") {
		t.Errorf("there is more than one tree: %s", got)
	}
	top := "/sessions/" + all[0].ID()
	size := l.Inside(container, "du -sk "+top+" | cut -f1")
	if len(size) > 3 {
		t.Errorf("a session takes %s KiB of the disk", size)
	}
	// The agent holds the mounts, so that no end waits until the kernel has forgotten the files.
	found, err := l.Docker.ContainerInspect(t.Context(), container, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	held := fmt.Sprintf(`grep -lE '^flags:[[:space:]]*01[0-9]{7}$' /proc/%d/fdinfo/* | wc -l`, found.Container.State.Pid) // those of O_PATH
	if got := l.InWarden(held); got != fmt.Sprint(tasks) {
		t.Errorf("the agent holds %s mounts; want %d", got, tasks)
	}
	for _, s := range all[1:] {
		if err := l.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Error(err)
		}
	}
	checkAlone(l, all[0])
	if got := local.Sh(t, all[0], "git status --porcelain; cat dir3/file3"); got != "3" {
		t.Errorf("after the others have ended, a session has %q", got)
	}
	for deadline := time.Now().Add(5 * time.Minute); l.Inside(container, "ls -d /sessions/.gone 2>/dev/null") != ""; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not removed: %s", l.Inside(container, "find /sessions/.gone | head"))
		}
	}
	if got := l.InWarden(held); got != "1" {
		t.Errorf("after their ends, the agent holds %s mounts; want that of the session that is open", got)
	}
}

// hold makes the image of a container configure a filter of Git LFS that waits, while a tree is made, until the function that hold
// returns is called.
func hold(l *local.Pool, container string) (letGo func()) {
	l.Inside(container, `printf '%s\n' '[filter "lfs"]' '	clean = cat' '	smudge = "while test -e /etc/held && test $(id -u) = 9997; do sleep 0.05; done; cat"' > /etc/gitconfig
		touch /etc/held`)
	return func() { l.Inside(container, "rm -f /etc/held") }
}

// makingTree waits until the tree for the next session on a commit is being made.
func makingTree(l *local.Pool, container string) {
	l.T.Helper()
	const look = "ls -d /sessions/.trees/new-* 2>/dev/null && ps -eo uid=,args= | grep '^ *9997 .*git'"
	for deadline := time.Now().Add(5 * time.Minute); !strings.Contains(l.Inside(container, look), "9997"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.T.Fatalf("no tree is being made: %s", l.Inside(container, "ls -A /sessions/.trees; ps -eo uid,args"))
		}
	}
}

// TestLocalATreeInTheMaking: the warden, and then the agent, is killed while the files of a commit are made ready. What a session has
// planted is in no other, and in no tree.
func TestLocalATreeInTheMaking(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{})
	remote := l.Git.Create("org/repo", gittest.Files(map[string]string{".gitattributes": "held filter=lfs\n", "other": "other\n"}))
	first := l.Create("first", remote.URL(), "")
	waitTree(l, first)
	container := first.Info().Container.ID

	letGo := hold(l, container)
	remote.Commit("next", "held", "text\n")
	second := l.Create("second", remote.URL(), "next")
	makingTree(l, container)
	l.KillWarden()
	letGo()
	waitTree(l, second)
	third := l.Create("third", remote.URL(), "next")
	if got := local.Sh(t, third, "git status --porcelain; git fsck; cat held"); got != "text" || !isMounted(t, third) {
		t.Errorf("after the warden was killed: %q; the checkout is a mount: %t", got, isMounted(t, third))
	}

	local.Sh(t, third, "echo '#!/bin/sh' > .git/hooks/post-checkout; mkdir planted; echo planted | tee planted/file held .git/planted > ~/planted")
	fourth := l.Create("fourth", remote.URL(), "next")
	for _, s := range []*berth.Session{first, second, fourth} {
		if got := local.Sh(t, s, "find . ~ -name '*planted*' -o -name post-checkout; git status --porcelain; grep -rl planted . ~ /tmp /var/tmp || true"); got != "" {
			t.Errorf("%s finds what another session has planted: %s", s.ID(), got)
		}
	}
	if got := l.Inside(container, "find /sessions/.trees -name '*planted*' -o -name post-checkout; grep -rl planted /sessions/.trees"); got != "" {
		t.Errorf("a tree has what a session has planted: %s", got)
	}

	hold(l, container)
	remote.Commit("later", "held", "later\n")
	l.Create("fifth", remote.URL(), "later")
	makingTree(l, container)
	if _, err := l.Docker.ContainerKill(t.Context(), container, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatal(err)
	}
	<-first.Done()
	last := l.Create("last", remote.URL(), "later")
	if got := local.Sh(t, last, "git status --porcelain; git fsck; cat held"); got != "later" {
		t.Errorf("after the agent was killed: %q", got)
	}
	waitTree(l, last)
	if got := trees(l, last.Info().Container.ID); strings.Contains(got, "\n") {
		t.Errorf("there are trees of the container that was killed: %s", got)
	}
}
