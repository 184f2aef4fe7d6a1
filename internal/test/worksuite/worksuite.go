// Package worksuite is the conformance suite of what berth does with the repositories of sessions: it checks that an engine makes of commits,
// pushes, patches and saved work what packages berth and work promise. The fake passes it, and so do real containers. No program
// links it.
package worksuite

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/work"
)

// A Harness is what the suite runs on.
type Harness struct {
	// Provider has SaveWork = SaveToBranch, and Snapshots
	Provider *berth.Provider
	// Repository is a remote that takes pushes. Its default branch is main, and has no file a.txt, b.txt or dir
	Repository string
	// Refuse makes the remote refuse all pushes from now on
	Refuse func()
}

// suite is one run.
type suite struct {
	Harness
	*testing.T
	ctx context.Context
}

// Run runs the suite. The test is not one of a bubble's subtests, so that a harness may be in one.
func Run(t *testing.T, h Harness) {
	s := &suite{h, t, t.Context()}
	first := s.create(berth.SessionRequest{TaskID: "suite-1"})
	s.changes(first)
	s.commits(first)
	s.pushes(first)
	s.saves("suite-2", "branch berth/save/suite-2")
	s.branches()
	h.Refuse()
	s.saves("suite-3", "snapshot work/suite-3-")
}

// RunWhole runs what concerns SaveWhole, which the Provider has. Refuse is not called.
func RunWhole(t *testing.T, h Harness) {
	s := &suite{h, t, t.Context()}
	next := s.saves("suite-whole", "snapshot work/suite-whole-")
	if c := s.look(next); len(c.Unpushed) != 1 || c.Unpushed[0].Subject != "committed" {
		s.Errorf("what was committed is not: %+v", c)
	}
	if pushed, err := next.Push(s.ctx, work.PushOptions{}); err != nil || pushed.Branch != "suite-whole-branch" {
		s.Errorf("%+v, %v", pushed, err)
	}
	clean := s.create(berth.SessionRequest{TaskID: "suite-clean"})
	if err := s.Provider.TerminateSession(s.ctx, clean.ID()); err != nil {
		s.Fatal(err)
	}
	if info, err := clean.Refresh(s.ctx); err != nil || info.Saved != "" || errors.Is(clean.Err(), berth.ErrUnsaved) {
		s.Errorf("nothing to save: %q, %v, %v", info.Saved, err, clean.Err())
	}
}

// RunLost runs what concerns KeepLost, which the Provider has beside SaveToBranch. It has no Snapshots.
func RunLost(t *testing.T, h Harness) {
	s := &suite{h, t, t.Context()}
	h.Refuse()
	lost := s.create(berth.SessionRequest{TaskID: "suite-lost", NewBranch: "suite-lost-branch"})
	s.write(lost, "a.txt", "1\n")
	if _, err := lost.Commit(s.ctx, work.CommitOptions{Message: "committed"}); err != nil {
		s.Error(err)
	}
	s.write(lost, "a.txt", "2\n")
	if err := s.Provider.TerminateSession(s.ctx, lost.ID()); err != nil {
		s.Fatal(err)
	}
	info, err := lost.Refresh(s.ctx)
	if err != nil || info.Saved != "instance "+info.Instance.ID || !errors.Is(lost.Err(), berth.ErrUnsaved) || !strings.Contains(lost.Err().Error(), "refused") || !strings.Contains(lost.Err().Error(), "kept on "+info.Saved) {
		s.Errorf("%q, %v, %v", info.Saved, err, lost.Err())
	}
	for _, task := range []string{"suite-found", "suite-found-again"} { // it stays
		next := s.create(berth.SessionRequest{TaskID: task, RestoreKept: lost.ID()})
		b, err := next.FS(s.ctx).ReadFile("a.txt")
		c := s.look(next)
		if err != nil || string(b) != "2\n" || !next.Info().Restored || c.Branch != "suite-lost-branch" || len(c.Files) != 1 || len(c.Unpushed) != 1 {
			s.Errorf("%q, %v, %+v, %+v", b, err, next.Info(), c)
		}
	}
	_, err = s.Provider.CreateSession(s.ctx, berth.SessionRequest{TaskID: "suite-none", UserID: "user", Repository: s.Repository, RestoreKept: s.create(berth.SessionRequest{TaskID: "suite-other"}).ID()})
	if failed, ok := errors.AsType[*berth.StartError](err); !ok || failed.Phase != "checkout" || !errors.Is(err, agent.ErrNothingKept) {
		s.Errorf("a session of which nothing is kept: %v", err)
	}
}

func (s *suite) create(r berth.SessionRequest) *berth.Session {
	s.Helper()
	r.UserID, r.Repository = "user", s.Repository
	made, err := s.Provider.CreateSession(s.ctx, r)
	if err != nil {
		s.Fatal(err)
	}
	return made
}

func (s *suite) write(in *berth.Session, name, content string) {
	s.Helper()
	if err := in.FS(s.ctx).WriteFile(name, []byte(content), 0o644); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) look(in *berth.Session) work.Changes {
	s.Helper()
	c, err := in.Changes(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *suite) patch(in *berth.Session) string {
	s.Helper()
	r, err := in.Patch(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		s.Fatal(err)
	}
	return string(b)
}

// changes: a fresh checkout has none, and files that are written are untracked.
func (s *suite) changes(in *berth.Session) {
	if c := s.look(in); !c.Clean() || c.Branch != "main" || c.Head == "" || c.Head != in.Info().Commit {
		s.Errorf("a fresh checkout: %+v, of %q", c, in.Info().Commit)
	}
	if p := s.patch(in); p != "" {
		s.Errorf("the patch of nothing: %s", p)
	}
	s.write(in, "a.txt", "one\n")
	s.write(in, "b.txt", "two\n")
	if c := s.look(in); c.Clean() || len(c.Files) != 2 || c.Files[0].Path != "a.txt" || !c.Files[0].Untracked() {
		s.Errorf("two files: %+v", c)
	}
	p := s.patch(in)
	for _, part := range []string{"\nSubject: ", "\nBerth-Base: " + in.Info().Commit + "\n", "\nBerth-Branch: main\n", "\n+one\n", "\n+two\n", "new file mode 100644"} {
		if !strings.Contains(p, part) {
			s.Errorf("%q is not in the patch:\n%s", part, p)
		}
	}
}

// commits: of the paths that are named, or of all.
func (s *suite) commits(in *berth.Session) {
	id, err := in.Commit(s.ctx, work.CommitOptions{Message: "first\n\nbody", Paths: []string{"a.txt"}})
	if err != nil {
		s.Fatal(err)
	}
	if c := s.look(in); len(c.Files) != 1 || c.Files[0].Path != "b.txt" || len(c.Unpushed) != 1 || c.Unpushed[0].ID != id || c.Unpushed[0].Subject != "first" || c.Head != id {
		s.Errorf("after a commit of one: %+v", c)
	}
	if _, err := in.Commit(s.ctx, work.CommitOptions{Message: "second"}); err != nil {
		s.Error(err)
	}
	if _, err := in.Commit(s.ctx, work.CommitOptions{Message: "third"}); !errors.Is(err, work.ErrNoChanges) {
		s.Errorf("nothing to commit: %v", err)
	}
	if _, err := in.Commit(s.ctx, work.CommitOptions{Message: "third", AllowEmpty: true}); err != nil {
		s.Error(err)
	}
	if c := s.look(in); len(c.Files) != 0 || len(c.Unpushed) != 3 {
		s.Errorf("after three commits: %+v", c)
	}
}

// pushes: another session has them, and a push over them is refused.
func (s *suite) pushes(in *berth.Session) {
	behind := s.create(berth.SessionRequest{TaskID: "suite-behind"})
	pushed, err := in.Push(s.ctx, work.PushOptions{})
	if err != nil || pushed.Branch != "main" || pushed.Commit != s.look(in).Head || !s.look(in).Clean() {
		s.Errorf("%+v, %v, %+v", pushed, err, s.look(in))
	}
	s.write(behind, "c.txt", "three\n")
	if _, err := behind.Commit(s.ctx, work.CommitOptions{Message: "behind"}); err != nil {
		s.Error(err)
	}
	if _, err := behind.Push(s.ctx, work.PushOptions{}); !errors.Is(err, work.ErrRejected) {
		s.Errorf("a push of an old branch: %v", err)
	}
	if pushed, err := behind.Push(s.ctx, work.PushOptions{Branch: "other"}); err != nil || pushed.Branch != "other" {
		s.Errorf("a push to a new branch: %+v, %v", pushed, err)
	}
	next := s.create(berth.SessionRequest{TaskID: "suite-next", Branch: pushed.Commit})
	if b, err := next.FS(s.ctx).ReadFile("b.txt"); err != nil || string(b) != "two\n" || next.Info().Commit != pushed.Commit {
		s.Errorf("the commit that was pushed has %q, %v", b, err)
	}
}

// saves: what is not pushed is there in the next session, which it returns.
func (s *suite) saves(task, where string) (next *berth.Session) {
	in := s.create(berth.SessionRequest{TaskID: task, NewBranch: task + "-branch"})
	s.write(in, "saved-"+task, "1\n")
	if _, err := in.Commit(s.ctx, work.CommitOptions{Message: "committed"}); err != nil {
		s.Error(err)
	}
	s.write(in, "saved-"+task, "2\n")
	odd := "a \"name\"\nof two lines of " + task
	s.write(in, odd, "3\n")
	if c := s.look(in); len(c.Files) != 2 || !slices.ContainsFunc(c.Files, func(f work.File) bool { return f.Path == odd && f.Untracked() }) {
		s.Errorf("a name of two lines: %+v", c.Files)
	}
	if err := s.Provider.TerminateSession(s.ctx, in.ID()); err != nil {
		s.Fatal(err)
	}
	info, err := in.Refresh(s.ctx)
	if err != nil || !strings.HasPrefix(info.Saved, where) || errors.Is(in.Err(), berth.ErrUnsaved) {
		s.Errorf("%s: %q, %v, %v", task, info.Saved, err, in.Err())
	}
	next = s.create(berth.SessionRequest{TaskID: task + "-next", Restore: task})
	b, err := next.FS(s.ctx).ReadFile("saved-" + task)
	if c := s.look(next); err != nil || string(b) != "2\n" || !next.Info().Restored || c.Branch != task+"-branch" || next.Info().Branch != c.Branch || len(c.Files) != 2 {
		s.Errorf("%s: %q, %v, %+v, %+v", task, b, err, next.Info(), c)
	}
	if b, err := next.FS(s.ctx).ReadFile(odd); err != nil || string(b) != "3\n" {
		s.Errorf("%q: %q, %v", odd, b, err)
	}
	fresh := s.create(berth.SessionRequest{TaskID: task + "-fresh", Restore: "no-such-task"})
	if c := s.look(fresh); fresh.Info().Restored || !c.Clean() || c.Branch != "main" {
		s.Errorf("nothing is restored: %+v, %+v", fresh.Info(), c)
	}
	return next
}

// branches: a new branch that the remote has is refused.
func (s *suite) branches() {
	_, err := s.Provider.CreateSession(s.ctx, berth.SessionRequest{TaskID: "suite-old", UserID: "user", Repository: s.Repository, NewBranch: "main"})
	if failed, ok := errors.AsType[*berth.StartError](err); !ok || failed.Phase != "checkout" {
		s.Errorf("a new branch of an old name: %v", err)
	}
}
