package local_test

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/orchestrator/dirsnapshots"
)

// doWork is what a task does before its work is kept. showWork prints all that is to be the same in the sessions that start from it.
const (
	doWork = `set -e
git checkout -q -b feature
echo committed > committed; git add committed; git commit -qm local
echo stashed >> README.md; git stash -q
echo staged > staged; git add staged; echo unstaged >> README.md
printf '*.log\n' > .gitignore; echo ignored > out.log; ln -s /etc/passwd link
mv pkg00 renamed; rm pkg01/part0/file00020.go; chmod +x renamed/part0/file00001.go
rm -rf pkg02; mkdir pkg02; echo new > pkg02/only`
	showWork = `find . -path ./.git -prune -o -printf '%p %y %m %l\n' | grep -v '^[.] ' | sort | md5sum
find . -path ./.git -prune -o -type f -print | sort | xargs md5sum | md5sum
git status --porcelain --ignored -b; git stash list; git log --format='%H %s' -3; git diff --cached --stat; git fsck --no-progress 2>&1; git symbolic-ref HEAD
find . ! -user $(id -un) | wc -l; ls renamed/part0 | wc -l; ls pkg02; ls pkg01/part0 | wc -l`
)

// TestLocalSnapshots keeps the work of two sessions, one whose files git has written and one that is a mount over the files of the commit. Each
// is the same in a session of the same container and in one of another pool, which has neither the mirror nor the tree.
func TestLocalSnapshots(t *testing.T) {
	t.Parallel()
	store, err := dirsnapshots.New(dirsnapshots.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l := local.New(t, berth.Config{Snapshots: store})
	url := l.Git.Create("org/repo", gittest.Small()).URL()
	written := l.Create("written", url, "")
	waitTree(l, written)
	mounted := l.Create("mounted", url, "")
	if !isMounted(t, mounted) || isMounted(t, written) {
		t.Fatal("the sessions do not have their files in two ways")
	}
	elsewhere := local.New(t, berth.Config{Snapshots: store})
	for _, s := range []*berth.Session{written, mounted} {
		task := s.Info().TaskID
		local.Sh(t, s, doWork)
		want := local.Sh(t, s, showWork)
		if !strings.Contains(want, "?? link") || !strings.Contains(want, "!! out.log") {
			t.Errorf("the work is\n%s", want)
		}
		begun := time.Now()
		info, err := s.Snapshot(t.Context(), task)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: kept in %v: %+v", task, time.Since(begun), info)
		if info.Files > 200 {
			t.Errorf("%s: %d files are kept", task, info.Files)
		}
		for n, pool := range []*local.Pool{l, elsewhere} {
			begun := time.Now()
			next, err := pool.CreateSession(t.Context(), berth.SessionRequest{
				TaskID: "of-" + task, UserID: "user", Repository: url, Snapshot: task, Author: berth.Author{Name: "Next", Email: "next@example.com"},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: in pool %d after %v, a mount: %v", task, n, time.Since(begun), isMounted(t, next))
			if got := local.Sh(t, next, showWork); got != want {
				t.Errorf("%s: in pool %d the work is\n%s\nwant\n%s", task, n, got, want)
			}
			if got := local.Sh(t, next, "git commit -qm next && git log -1 --format=%an && git fetch -q && git push -q origin HEAD:refs/heads/of-$(id -u)-"+task+" 2>&1; git stash pop 2>&1 | grep -c CONFLICT; git ls-files .git-of-this-session"); !strings.HasPrefix(got, "Next") {
				t.Errorf("%s: in pool %d it is used: %q", task, n, got)
			}
		}
	}
}
