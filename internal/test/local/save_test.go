package local_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/orchestrator/dirsnapshots"
)

// toil is work that is committed, in the index, in files, and untracked.
const toil = `git commit -q --allow-empty -m 'a commit'; echo more >>README; git mv old.txt new.txt; git add README
echo again >>README; printf 'a\000b' >binary; mkdir -p d; echo '#!/bin/sh' >d/run; chmod +x d/run; ln -s README link`

// TestLocalSaveWhole: stashes, other branches, ignored files and a repository below the checkout are there again.
func TestLocalSaveWhole(t *testing.T) {
	snapshots, err := dirsnapshots.New(dirsnapshots.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l := local.New(t, berth.Config{SaveWork: berth.SaveWhole, Snapshots: snapshots})
	remote := l.Git.Create("org/whole", gittest.Files(map[string]string{"README": "hello\n", "old.txt": strings.Repeat("line\n", 30), ".gitignore": "out/\n"}))
	ctx := t.Context()
	s, err := l.CreateSession(ctx, berth.SessionRequest{TaskID: "whole", UserID: "user", Repository: remote.URL()})
	if err != nil {
		t.Fatal(err)
	}
	script := "echo stashed >>README; git stash -q; git checkout -q -b other; git commit -q --allow-empty -m 'on another branch'; git checkout -q main\n" +
		toil + "; mkdir out; echo 1 >out/built; git init -q below; echo 2 >below/file"
	if out, err := s.Command(ctx, "sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const look = "git status --porcelain -b; git log --format='%H %s' --branches; git stash list; git diff | sha256sum; cat out/built below/file; ls -lgoR --time-style=+ d"
	list := func(s *berth.Session) string {
		t.Helper()
		out, err := s.Command(ctx, "sh", "-ec", look).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.ReplaceAll(string(out), s.ID(), "")
	}
	want := list(s)
	if err := l.TerminateSession(ctx, s.ID()); err != nil {
		t.Fatal(err)
	}
	if errors.Is(s.Err(), berth.ErrUnsaved) {
		t.Fatal(s.Err())
	}
	next, err := l.CreateSession(ctx, berth.SessionRequest{TaskID: "whole-next", UserID: "user", Repository: remote.URL(), Restore: "whole"})
	if err != nil {
		t.Fatal(err)
	}
	if got := list(next); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestLocalSave: what a session has not pushed is saved when it ends, and is there in the next one: on a branch, and as a snapshot when
// the remote refuses the branch.
func TestLocalSave(t *testing.T) {
	snapshots, err := dirsnapshots.New(dirsnapshots.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l := local.New(t, berth.Config{SaveWork: berth.SaveToBranch, Snapshots: snapshots})
	remote := l.Git.Create("org/save", gittest.Files(map[string]string{"README": "hello\n", "old.txt": strings.Repeat("line\n", 30)}))
	ctx := t.Context()
	tree := func(s *berth.Session) string {
		t.Helper()
		out, err := s.Command(ctx, "sh", "-c", "export GIT_INDEX_FILE=$TMPDIR/index; git add -A && git write-tree").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, where := range []string{"branch berth/save/", "snapshot work/"} {
		task := strings.Fields(where)[0]
		s, err := l.CreateSession(ctx, berth.SessionRequest{TaskID: task, UserID: "user", Repository: remote.URL(), NewBranch: "mine"})
		if err != nil {
			t.Fatal(err)
		}
		script := toil
		if task == "snapshot" { // this session's own configuration makes its pushes fail
			script += "\ngit config remote.origin.pushurl https://127.0.0.1:1/none"
		}
		if out, err := s.Command(ctx, "sh", "-ec", script).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want := tree(s)
		if err := l.TerminateSession(ctx, s.ID()); err != nil {
			t.Fatal(err)
		}
		info, err := s.Refresh(ctx)
		if err != nil || !strings.HasPrefix(info.Saved, where) || errors.Is(s.Err(), berth.ErrUnsaved) {
			t.Fatalf("%q, %v, %v", info.Saved, s.Err(), err)
		}
		next, err := l.CreateSession(ctx, berth.SessionRequest{TaskID: task + "-next", UserID: "user", Repository: remote.URL(), Restore: task})
		if err != nil {
			t.Fatal(err)
		}
		if got := tree(next); got != want || next.Info().Branch != "mine" || !next.Info().Restored {
			out, _ := next.Command(ctx, "sh", "-c", "git status; git log --oneline --all").CombinedOutput()
			t.Errorf("%s: restored as %s, want %s: %+v\n%s", where, got, want, next.Info(), out)
		}
		if c, err := next.Changes(ctx); err != nil || len(c.Files) == 0 || c.Branch != "mine" || task == "branch" && len(c.Unpushed) != 1 {
			t.Errorf("%+v, %v", c, err)
		}
	}
}
