package fake_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/worksuite"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	of "github.com/berth-go/berth/work"
)

// openSession returns a session on the repository of the tests of work.
func openSession(t *testing.T, p *berth.Provider, task, branch string) *berth.Session {
	t.Helper()
	s, err := p.CreateSession(t.Context(), berth.SessionRequest{TaskID: task, UserID: "ann", Repository: "https://git.example/acme/app", Branch: branch})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// write writes files of a session.
func write(t *testing.T, s *berth.Session, files map[string]string) {
	t.Helper()
	fsys := s.FS(t.Context())
	for name, content := range files {
		if err := fsys.MkdirAll(path.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := fsys.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := fake.NewEngine(fake.EngineOptions{})
		p, err := fake.NewProvider(fake.Options{Engine: engine})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		s, ctx := openSession(t, p, "one", ""), t.Context()
		if c, err := s.Changes(ctx); err != nil || !c.Clean() || c.Branch != "main" || c.Head != s.Info().Commit || c.Head == "" {
			t.Fatalf("%+v, %v", c, err)
		}
		write(t, s, map[string]string{"a.txt": "one\n", "dir/b.txt": "two\n"})
		if c, err := s.Changes(ctx); err != nil || len(c.Files) != 2 || !c.Files[0].Untracked() {
			t.Fatalf("%+v, %v", c, err)
		}
		first, err := s.Commit(ctx, of.CommitOptions{Message: "first", Paths: []string{"dir"}})
		if err != nil {
			t.Fatal(err)
		}
		if c, err := s.Changes(ctx); err != nil || len(c.Files) != 1 || len(c.Unpushed) != 1 || c.Unpushed[0].ID != first {
			t.Fatalf("%+v, %v", c, err)
		}
		if _, err := s.Commit(ctx, of.CommitOptions{Message: "second"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Commit(ctx, of.CommitOptions{Message: "third"}); !errors.Is(err, of.ErrNoChanges) {
			t.Fatal(err)
		}
		pushed, err := s.Push(ctx, of.PushOptions{})
		if err != nil || engine.Heads("https://git.example/acme/app")["main"] != pushed.Commit {
			t.Fatal(pushed, err)
		}
		if got := engine.Files("https://git.example/acme/app", "main"); got["dir/b.txt"] != "two\n" || len(got) != 2 {
			t.Fatal(got)
		}
		engine.Push("https://git.example/acme/app", "main")
		write(t, s, map[string]string{"c.txt": "three\n"})
		if _, err := s.Commit(ctx, of.CommitOptions{Message: "fourth"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Push(ctx, of.PushOptions{}); !errors.Is(err, of.ErrRejected) {
			t.Fatal(err)
		}
		if pushed, err := s.Push(ctx, of.PushOptions{Branch: "mine"}); err != nil || pushed.Branch != "mine" {
			t.Fatal(pushed, err)
		}
		other := openSession(t, p, "two", "mine")
		if b, err := other.FS(ctx).ReadFile("c.txt"); err != nil || string(b) != "three\n" {
			t.Fatalf("%q, %v", b, err)
		}
		for c, err := range s.Commands(ctx) {
			t.Errorf("a command of the session: %v, %v", c.Args, err)
		}
	})
}

// TestWorkConformance: the fake does with repositories what real containers do.
func TestWorkConformance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const remote = "https://git.example/acme/suite"
		engine := fake.NewEngine(fake.EngineOptions{})
		p, err := fake.NewProvider(fake.Options{Engine: engine, Config: berth.Config{
			SaveWork: berth.SaveToBranch, Snapshots: fake.NewSnapshots(fake.SnapshotOptions{}), MaxTasksPerInstance: 20, MirrorMaxAge: time.Nanosecond,
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		worksuite.Run(t, worksuite.Harness{Provider: p, Repository: remote, Refuse: func() { engine.RefusePushes(remote, errors.New("remote: refused")) }})
	})
}

func TestWholeWorkConformance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := fake.NewProvider(fake.Options{Config: berth.Config{SaveWork: berth.SaveWhole, Snapshots: fake.NewSnapshots(fake.SnapshotOptions{})}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		worksuite.RunWhole(t, worksuite.Harness{Provider: p, Repository: "https://git.example/acme/suite"})
	})
}

func TestLostWorkConformance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const remote = "https://git.example/acme/suite"
		engine := fake.NewEngine(fake.EngineOptions{})
		p, err := fake.NewProvider(fake.Options{Engine: engine, Config: berth.Config{SaveWork: berth.SaveToBranch, KeepLost: orchestrator.Retention{MaxCount: 3}}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		worksuite.RunLost(t, worksuite.Harness{Provider: p, Repository: remote, Refuse: func() { engine.RefusePushes(remote, errors.New("remote: refused")) }})
	})
}

// TestLostWorkIsKeptInTime: an OnEnd that uses all of its time leaves some for KeepLost. Nothing of a private container is kept.
func TestLostWorkIsKeptInTime(t *testing.T) {
	for _, private := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p, err := fake.NewProvider(fake.Options{Config: berth.Config{
				OnEnd:    func(ctx context.Context, _ *berth.Session, _ berth.EndReason) error { <-ctx.Done(); return ctx.Err() },
				KeepLost: orchestrator.Retention{MaxCount: 1},
				Sharing:  berth.Sharing{Private: func(naming.Repository) bool { return private }},
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			s := openSession(t, p, "one", "")
			begun := time.Now()
			if err := p.TerminateSession(t.Context(), s.ID()); err != nil {
				t.Fatal(err)
			}
			info, err := s.Refresh(t.Context())
			if err != nil || time.Since(begun) > time.Minute || !errors.Is(s.Err(), berth.ErrUnsaved) {
				t.Errorf("after %v: %v, %v", time.Since(begun), s.Err(), err)
			}
			if kept := info.Saved == "instance "+info.Instance.ID; kept == private || private != strings.Contains(s.Err().Error(), "private") {
				t.Errorf("private %t: %q, %v", private, info.Saved, s.Err())
			}
		})
	}
}

// TestPatchOfTheFake: git takes the fake's patches, and they come again as they were.
func TestPatchOfTheFake(t *testing.T) {
	var patch []byte
	want := map[string]string{"text.txt": "one\ntwo", "bin/x.bin": "\x00\x01\xff", "empty": "", "odd \"name\" ü.txt": "x\n", "crlf": "a\r\nb\r\n"}
	synctest.Test(t, func(t *testing.T) {
		p, err := fake.NewProvider(fake.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		s := openSession(t, p, "one", "")
		write(t, s, want)
		r, err := s.Patch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if patch, err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	})
	dir := t.TempDir()
	git := exec.Command("git", "apply", "-")
	git.Dir, git.Stdin = dir, strings.NewReader(string(patch))
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, patch)
	}
	for name, content := range want {
		if got := readFile(t, path.Join(dir, name)); got != content {
			t.Errorf("%s is %q, want %q", name, got, content)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
