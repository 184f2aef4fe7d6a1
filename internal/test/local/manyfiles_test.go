package local_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/work"
)

// TestLocalManyFiles: a session that has made 100,000 files can be looked at, committed, saved and ended, and its neighbour does not
// notice. Without BERTH_SOAK, they are 11,000: more than Changes lists.
func TestLocalManyFiles(t *testing.T) {
	l := local.New(t, berth.Config{SaveWork: berth.SaveToBranch, EndTimeout: 10 * time.Minute})
	remote := l.Git.Create("org/many", gittest.Small())
	ctx := t.Context()
	dirs := 11
	if testenv.Soak() {
		dirs = 100
	}
	s, neighbour := l.Create("many", remote.URL(), ""), l.Create("neighbour", remote.URL(), "")
	local.Sh(t, s, fmt.Sprintf(`for i in $(seq %d); do mkdir many$i; (cd many$i && seq 1 1000 | xargs touch); done`, dirs))
	if c, err := s.Changes(ctx); err != nil || !c.Truncated || len(c.Files) != 10_000 || !strings.HasPrefix(c.Files[0].Path, "many") {
		t.Errorf("%d files, truncated %t, %v", len(c.Files), c.Truncated, err)
	}
	if entries, err := s.FS(ctx).ReadDir("many7"); err != nil || len(entries) != 1000 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	if _, err := s.Commit(ctx, work.CommitOptions{Message: "many"}); err != nil {
		t.Error(err)
	}
	if c, err := s.Changes(ctx); err != nil || len(c.Files) != 0 || len(c.Unpushed) != 1 {
		t.Errorf("after the commit: %d files, %d commits, %v", len(c.Files), len(c.Unpushed), err)
	}
	local.Sh(t, s, `echo more >many3/1`)
	if err := l.TerminateSession(ctx, s.ID()); err != nil {
		t.Fatal(err)
	}
	if info, err := s.Refresh(ctx); err != nil || !strings.HasPrefix(info.Saved, "branch ") || errors.Is(s.Err(), berth.ErrUnsaved) {
		t.Errorf("%q, %v, %v", info.Saved, s.Err(), err)
	}
	if got := local.Sh(t, neighbour, "git status --porcelain; ls | wc -l"); got == "" || strings.Contains(got, "many") {
		t.Errorf("the neighbour has %s", got)
	}
	next, err := l.CreateSession(ctx, berth.SessionRequest{TaskID: "next", UserID: "user", Repository: remote.URL(), Restore: "many"})
	if err != nil {
		t.Fatal(err)
	}
	if got := local.Sh(t, next, "find many* -type f | wc -l; cat many3/1; git status --porcelain"); got != fmt.Sprint(dirs*1000, "\nmore\n M many3/1") {
		t.Errorf("restored: %s", got)
	}
	if err := l.TerminateSession(ctx, next.ID()); err != nil {
		t.Error(err)
	}
}
