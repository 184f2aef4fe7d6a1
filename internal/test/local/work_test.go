package local_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/worksuite"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dirsnapshots"
	"github.com/berth-go/berth/work"
)

// TestLocalWork: what a session has not pushed, in a real container with a real remote.
func TestLocalWork(t *testing.T) {
	l := local.New(t, berth.Config{})
	remote := l.Git.Create("org/work", gittest.Files(map[string]string{"README": "hello\n", "old.txt": strings.Repeat("line\n", 30)}))
	s, ctx := l.Create("task", remote.URL(), ""), t.Context()
	if c, err := s.Changes(ctx); err != nil || !c.Clean() || c.Head != s.Info().Commit {
		t.Fatalf("%+v, %v", c, err)
	}
	sh := func(script string) {
		t.Helper()
		if out, err := s.Command(ctx, "sh", "-ec", script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
	}
	// What the task has configured and its hooks run in its own room, under its uid.
	sh(`echo one >one.txt; git mv old.txt new.txt; head -c 3000 /dev/urandom >random.bin; chmod +x README
git config core.fsmonitor 'id -u >>"$HOME/monitor"; false'
printf '#!/bin/sh\nid -u >"$HOME/hook"; touch "$HOME/hooked"\n' >.git/hooks/pre-commit; chmod +x .git/hooks/pre-commit`)
	c, err := s.Changes(ctx)
	if err != nil || len(c.Files) != 4 || c.Clean() {
		t.Fatalf("%+v, %v", c, err)
	}
	r, err := s.Patch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := io.ReadAll(r)
	if err != nil || !bytes.Contains(patch, []byte("rename from old.txt")) {
		t.Fatalf("%v\n%s", err, patch)
	}
	other := l.Create("other", remote.URL(), "")
	apply := other.Command(ctx, "git", "am", "-q")
	apply.Stdin = bytes.NewReader(patch)
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("git am: %v: %s", err, out)
	}
	same := func(s *berth.Session) string {
		out, err := s.Command(ctx, "sh", "-c", "git add -A && git write-tree").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if a, b := same(s), same(other); a != b {
		t.Errorf("the patch makes tree %s of %s", b, a)
	}
	commit, err := s.Commit(ctx, work.CommitOptions{Message: "all of it"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.FS(ctx).Stat("../home/hooked"); err != nil {
		t.Logf("the hook: %v", err)
	}
	pushed, err := s.Push(ctx, work.PushOptions{Branch: "berth/new"})
	if err != nil || pushed.Commit != commit {
		t.Fatal(pushed, err)
	}
	out, err := exec.Command("git", "ls-remote", remote.URL(), "refs/heads/berth/new").Output()
	if err != nil || !strings.HasPrefix(string(out), commit) {
		t.Errorf("the remote has %s, %v", out, err)
	}
	if c, err := s.Changes(ctx); err != nil || !c.Clean() {
		t.Errorf("after the push: %+v, %v", c, err)
	}
	if _, err := other.Push(ctx, work.PushOptions{Branch: "berth/new"}); !errors.Is(err, work.ErrRejected) {
		t.Errorf("a push over another's: %v", err)
	}
	for c, err := range s.Commands(ctx) {
		if err != nil || len(c.Args) > 4 && c.Args[3] == "berth" {
			t.Errorf("%v, %v", c.Args, err)
		}
	}
}

// TestLocalWorkConformance: real containers do with repositories what the suite says, as the fake does.
func TestLocalWorkConformance(t *testing.T) {
	snapshots, err := dirsnapshots.New(dirsnapshots.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l := local.New(t, berth.Config{SaveWork: berth.SaveToBranch, Snapshots: snapshots, MaxTasksPerInstance: 20, MirrorMaxAge: time.Nanosecond})
	remote := l.Git.Create("org/suite", gittest.Files(map[string]string{"README": "hello\n"}))
	worksuite.Run(t, worksuite.Harness{Provider: l.Provider, Repository: remote.URL(), Refuse: func() { refuse(t, remote) }})
}

func TestLocalWholeWorkConformance(t *testing.T) {
	snapshots, err := dirsnapshots.New(dirsnapshots.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l := local.New(t, berth.Config{SaveWork: berth.SaveWhole, Snapshots: snapshots})
	remote := l.Git.Create("org/suite", gittest.Files(map[string]string{"README": "hello\n"}))
	worksuite.RunWhole(t, worksuite.Harness{Provider: l.Provider, Repository: remote.URL()})
}

// refuse makes a remote refuse all pushes.
func refuse(t *testing.T, remote *gittest.Remote) {
	hook := filepath.Join(remote.Dir(), "hooks", "pre-receive")
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho refused >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestLocalLostWorkConformance(t *testing.T) {
	l := local.New(t, berth.Config{SaveWork: berth.SaveToBranch, KeepLost: orchestrator.Retention{MaxCount: 3}})
	remote := l.Git.Create("org/suite", gittest.Files(map[string]string{"README": "hello\n"}))
	worksuite.RunLost(t, worksuite.Harness{Provider: l.Provider, Repository: remote.URL(), Refuse: func() { refuse(t, remote) }})
}
