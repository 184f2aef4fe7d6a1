package local_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/work"
)

// TestLocalWorkOnAFullDisk: what a session does on a full disk fails with an error that says why, and harms nothing that is there. Its work is
// lost, and that is said. When there is room again, all is as before.
func TestLocalWorkOnAFullDisk(t *testing.T) {
	git, image := gittest.NewSmartServer(t), testenv.Image(t) // by the machine's engine
	second := testenv.StartSecondEngine(t, testenv.SecondEngineOptions{Disk: 384 * mib})
	t.Setenv("DOCKER_HOST", second.Address)
	f := &fullDisk{Pool: local.New(t, berth.Config{Image: image, SaveWork: berth.SaveToBranch, KeepLost: orchestrator.Retention{MaxCount: 1}}), dir: second.Data}
	remote := git.Create("org/full", gittest.Small()) // where the second engine's containers reach it
	f.small = remote
	ctx := t.Context()
	s, other := f.Create("full", remote.URL(), ""), f.Create("other", remote.URL(), "")
	note := func(in *berth.Session, size int) error {
		return in.FS(ctx).WriteFile("note", []byte(strings.Repeat("x", size)), 0o644)
	}
	if err := note(s, 1000); err != nil {
		t.Fatal(err)
	}
	empty := f.fill(0)
	if err := s.FS(ctx).WriteFile("large", make([]byte, 4*mib), 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a large file: %v", err)
	}
	if c, err := s.Changes(ctx); err != nil || c.Clean() {
		t.Errorf("Changes on a full disk: %+v, %v", c, err)
	}
	if _, err := s.Commit(ctx, work.CommitOptions{Message: "one"}); !isGit(err, "space left") {
		t.Errorf("a commit on a full disk: %v", err)
	}
	if b, err := s.FS(ctx).ReadFile("note"); err != nil || len(b) != 1000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	f.end(s)
	info, err := s.Refresh(ctx)
	if err != nil || info.Saved != "" || !errors.Is(s.Err(), berth.ErrUnsaved) || !strings.Contains(s.Err().Error(), "space left") {
		t.Errorf("%q, %v, %v", info.Saved, s.Err(), err)
	}
	empty()
	if err := note(other, 2000); err != nil {
		t.Error(err)
	}
	if _, err := other.Commit(ctx, work.CommitOptions{Message: "two"}); err != nil {
		t.Error(err)
	}
	f.end(other)
	if info, err := other.Refresh(ctx); err != nil || !strings.HasPrefix(info.Saved, "branch ") || errors.Is(other.Err(), berth.ErrUnsaved) {
		t.Errorf("%q, %v, %v", info.Saved, other.Err(), err)
	}
}

func isGit(err error, words string) bool {
	failed, ok := errors.AsType[*agent.GitError](err)
	return ok && strings.Contains(failed.Message, words)
}
