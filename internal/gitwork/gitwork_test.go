package gitwork_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/gitwork"
	"github.com/berth-go/berth/work"
)

// A clone is a checkout of a remote, both on this machine's disk.
type clone struct {
	t       *testing.T
	dir     string
	remote  string
	environ []string
	gitwork.Repository
}

// newClone returns a clone of a remote that has some files.
func newClone(t *testing.T) *clone {
	t.Helper()
	home := t.TempDir()
	c := &clone{t: t, remote: filepath.Join(home, "remote.git"), environ: append(os.Environ(),
		"HOME="+home, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")}
	c.dir = home
	c.must("git", "config", "--global", "user.name", "Ann Ünal")
	c.must("git", "config", "--global", "user.email", "ann@example.com")
	c.must("git", "config", "--global", "init.defaultBranch", "main")
	c.must("git", "init", "-q", "--bare", c.remote)
	c.must("git", "clone", "-q", c.remote, "first")
	c.dir = filepath.Join(home, "first")
	for name, content := range map[string]string{
		"README": "hello\n", "gone.txt": "1\n2\n3\n", "old name.txt": strings.Repeat("a line of a file\n", 40), "run.sh": "#!/bin/sh\n",
		"image.bin": "\x00\x01\x02", ".gitignore": "*.log\n", "crlf.txt": "a\r\nb\r\n",
	} {
		c.write(name, content)
	}
	c.must("git", "add", ".")
	c.must("git", "commit", "-qm", "first")
	c.must("git", "push", "-q", "origin", "main")
	return c.again()
}

// again returns another clone of the same remote.
func (c *clone) again(args ...string) *clone {
	c.t.Helper()
	other := &clone{t: c.t, remote: c.remote, environ: c.environ, dir: c.t.TempDir()}
	other.must("git", append([]string{"clone", "-q", c.remote, "."}, args...)...)
	other.Run = other.run
	return other
}

func (c *clone) run(ctx context.Context, call gitwork.Call) (int, error) {
	cmd := exec.CommandContext(ctx, call.Args[0], call.Args[1:]...)
	cmd.Dir, cmd.Env = c.dir, append(c.environ, call.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = call.Stdin, call.Stdout, call.Stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func (c *clone) must(name string, args ...string) string {
	c.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = c.dir, c.environ
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (c *clone) write(name, content string) {
	c.t.Helper()
	at := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// toil does work of every kind.
func (c *clone) toil() {
	c.t.Helper()
	c.write("committed.txt", "in a commit\n")
	c.must("git", "add", "committed.txt")
	c.must("git", "commit", "-qm", "a commit: with ü")
	c.write("README", "hello\nworld\n")
	c.must("git", "rm", "-q", "gone.txt")
	c.must("git", "mv", "old name.txt", "new name.txt")
	c.must("chmod", "+x", "run.sh")
	c.write("image.bin", "\x00\xff\x02\x03")
	c.write("crlf.txt", "a\r\nc\r\n")
	c.write("dir/un tracked\nname.txt", "new\n")
	c.write("dir/empty", "")
	c.write("ignored.log", "no")
	if err := os.Symlink("README", filepath.Join(c.dir, "link")); err != nil {
		c.t.Fatal(err)
	}
}

// state describes a checkout, apart from ignored files: the tree that a commit of all would have.
func (c *clone) state() string {
	c.t.Helper()
	index := filepath.Join(c.t.TempDir(), "index")
	c.environ = append(c.environ, "GIT_INDEX_FILE="+index)
	defer func() { c.environ = c.environ[:len(c.environ)-1] }()
	c.must("git", "add", "-A")
	return c.must("git", "ls-files", "-s")
}

func (c *clone) patch() (string, error) {
	b, err := io.ReadAll(c.Patch(c.t.Context(), "work", func(fn func()) { go fn() }))
	return string(b), err
}

func TestChanges(t *testing.T) {
	c := newClone(t)
	got, err := c.Changes(t.Context())
	if err != nil || !got.Clean() || got.Branch != "main" || got.Head != c.must("git", "rev-parse", "HEAD") {
		t.Fatalf("a fresh clone: %+v, %v", got, err)
	}
	c.write("stashed", "x")
	c.must("git", "stash", "-u", "-q")
	c.toil()
	if got, err = c.Changes(t.Context()); err != nil {
		t.Fatal(err)
	}
	find := func(name string) work.File {
		i := slices.IndexFunc(got.Files, func(f work.File) bool { return f.Path == name })
		if i < 0 {
			t.Fatalf("%q is not in %+v", name, got.Files)
		}
		return got.Files[i]
	}
	for name, want := range map[string]work.File{
		"README":                   {Index: work.Same, Tree: work.Modified},
		"gone.txt":                 {Index: work.Deleted, Tree: work.Same},
		"new name.txt":             {From: "old name.txt", Index: work.Renamed, Tree: work.Same},
		"dir/un tracked\nname.txt": {Index: work.Same, Tree: work.Untracked},
	} {
		want.Path = name
		if f := find(name); f != want {
			t.Errorf("%+v, want %+v", f, want)
		}
	}
	if !find("dir/empty").Untracked() || find("run.sh").Untracked() || len(got.Files) != 9 {
		t.Errorf("%+v", got.Files)
	}
	if len(got.Unpushed) != 1 || got.Unpushed[0].Subject != "a commit: with ü" || got.Unpushed[0].Author != "Ann Ünal" || got.Unpushed[0].Time.IsZero() {
		t.Errorf("unpushed: %+v", got.Unpushed)
	}
	if len(got.Stashes) != 1 || !strings.HasPrefix(got.Stashes[0], "stash@{0} ") || got.Clean() || got.Truncated {
		t.Errorf("%+v", got)
	}
}

// TestPatch: git apply and git am make of a fresh clone what the session had, whatever its configuration says.
func TestPatch(t *testing.T) {
	c := newClone(t)
	if p, err := c.patch(); p != "" || err != nil {
		t.Fatalf("nothing is %q, %v", p, err)
	}
	c.toil()
	for _, setting := range []string{
		"diff.noprefix=true", "diff.mnemonicPrefix=true", "color.ui=always", "diff.external=false", "core.quotePath=false", "commit.gpgSign=false",
		"format.subjectPrefix=X", "log.showSignature=true", "status.short=true",
	} {
		key, value, _ := strings.Cut(setting, "=")
		c.must("git", "config", key, value)
	}
	index, status, objects := c.must("git", "ls-files", "-s"), c.must("git", "status", "--porcelain"), c.must("find", ".git/objects", "-type", "f")
	p, err := c.patch()
	if err != nil {
		t.Fatal(err)
	}
	if c.must("git", "ls-files", "-s") != index || c.must("git", "status", "--porcelain") != status || c.must("find", ".git/objects", "-type", "f") != objects {
		t.Error("the patch has changed the index, the files or the objects")
	}
	want := c.state()
	applied, mailed := c.again(), c.again()
	file := filepath.Join(t.TempDir(), "patch")
	if err := os.WriteFile(file, []byte(p), 0o600); err != nil {
		t.Fatal(err)
	}
	applied.must("git", "apply", file)
	if got := applied.state(); got != want {
		t.Errorf("git apply makes\n%s\nwant\n%s", got, want)
	}
	mailed.must("git", "am", "-q", "--keep-cr", file)
	if got := mailed.state(); got != want {
		t.Errorf("git am makes\n%s\nwant\n%s", got, want)
	}
	if got := mailed.must("git", "log", "-1", "--format=%an <%ae> %s"); got != "Ann Ünal <ann@example.com> work" {
		t.Errorf("git am commits as %s", got)
	}
	if !strings.Contains(p, "\nrename from old name.txt\n") || !strings.Contains(p, "Berth-Base: "+applied.must("git", "rev-parse", "HEAD")+"\n") {
		t.Errorf("%s", p)
	}
	restored := c.again()
	if err := restored.Apply(t.Context(), "main", strings.NewReader(p)); err != nil || restored.state() != want {
		t.Errorf("Apply makes\n%s, %v", restored.state(), err)
	}
}

// TestPatchIsIncomplete: what git cannot take is named, and the rest is there.
func TestPatchIsIncomplete(t *testing.T) {
	c := newClone(t)
	c.write("good.txt", "good\n")
	c.must("git", "init", "-q", "nested")
	c.must("git", "-C", "nested", "commit", "-q", "--allow-empty", "-m", "x")
	c.write("nested/file", "lost")
	p, err := c.patch()
	if !errors.Is(err, work.ErrIncomplete) || !strings.Contains(err.Error(), "nested") || !strings.Contains(p, "+good\n") {
		t.Errorf("%v\n%s", err, p)
	}
	if _, err := c.Save(t.Context(), "berth/save/t", "s"); !errors.Is(err, work.ErrIncomplete) {
		t.Errorf("Save: %v", err)
	}
}

func TestCommitAndPush(t *testing.T) {
	c := newClone(t)
	ctx := t.Context()
	if _, err := c.Commit(ctx, work.CommitOptions{Message: "none"}); !errors.Is(err, work.ErrNoChanges) {
		t.Errorf("nothing to commit: %v", err)
	}
	if _, err := c.Commit(ctx, work.CommitOptions{}); err == nil {
		t.Error("a commit without a message")
	}
	c.toil()
	id, err := c.Commit(ctx, work.CommitOptions{Message: "two: [part]\n\nbody\n", Paths: []string{"README", "dir"}, AuthorName: "Bob", AuthorEmail: "bob@example.com"})
	if err != nil || id != c.must("git", "rev-parse", "HEAD") {
		t.Fatal(id, err)
	}
	if got := c.must("git", "log", "-1", "--format=%an <%ae> %cn %s"); got != "Bob <bob@example.com> Ann Ünal two: [part]" {
		t.Error(got)
	}
	pushed, err := c.Push(ctx, work.PushOptions{})
	if err != nil || pushed != (work.Pushed{Branch: "main", Commit: id}) {
		t.Fatal(pushed, err)
	}
	other := c.again()
	other.write("theirs", "x")
	if _, err := other.Commit(ctx, work.CommitOptions{Message: "theirs"}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Push(ctx, work.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Commit(ctx, work.CommitOptions{Message: "rest"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Push(ctx, work.PushOptions{}); !errors.Is(err, work.ErrRejected) {
		t.Errorf("a push of an old branch: %v", err)
	}
	if _, err := c.Push(ctx, work.PushOptions{Force: true}); !errors.Is(err, work.ErrRejected) {
		t.Errorf("a forced push over what the clone has not seen: %v", err)
	}
	if pushed, err := c.Push(ctx, work.PushOptions{Branch: "mine"}); err != nil || pushed.Branch != "mine" {
		t.Error(pushed, err)
	}
	if got, err := c.Changes(ctx); err != nil || !got.Clean() {
		t.Errorf("after the push: %+v, %v", got, err)
	}
	c.must("git", "remote", "add", "bad", "https://user:s3cret@localhost:1/x")
	if _, err := c.Push(ctx, work.PushOptions{Remote: "bad"}); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a push to nowhere: %v", err)
	} else if _, ok := errors.AsType[*agent.GitError](err); !ok {
		t.Errorf("%T", err)
	}
}

// TestSave: what is saved is restored as it was, with its branch and its commits.
func TestSave(t *testing.T) {
	c := newClone(t)
	ctx := t.Context()
	if _, err := c.Save(ctx, "berth/save/t", "saved"); !errors.Is(err, work.ErrNoChanges) {
		t.Errorf("nothing to save: %v", err)
	}
	if err := c.Branch(ctx, "feature"); err != nil {
		t.Fatal(err)
	}
	if err := c.Branch(ctx, "feature"); err != nil {
		t.Errorf("once more: %v", err)
	}
	c.toil()
	want, head := c.state(), c.must("git", "rev-parse", "HEAD")
	commit, err := c.Save(ctx, "berth/save/t", "saved")
	if err != nil || c.must("git", "rev-parse", "HEAD") != head {
		t.Fatal(commit, err)
	}
	r := c.again("-b", "berth/save/t")
	for range 2 {
		if branch, err := r.Unsave(ctx); err != nil || branch != "feature" {
			t.Fatalf("Unsave: %q, %v", branch, err)
		}
	}
	if got := r.state(); got != want || r.must("git", "rev-parse", "HEAD") != head || r.must("git", "branch", "--format=%(refname:short)") != "feature" {
		t.Errorf("it was restored as\n%s\nwant\n%s", got, want)
	}
	if got, err := r.Changes(ctx); err != nil || len(got.Unpushed) != 1 {
		t.Errorf("what lies on the branch of Save counts as pushed: %+v, %v", got, err)
	}
	if commit, err := r.Save(ctx, "berth/save/u", "saved"); err != nil || commit == "" {
		t.Error(commit, err)
	}
	if err := r.Branch(ctx, "main"); err == nil {
		t.Error("a branch that the remote has was begun")
	}
}

// TestWhatIsNotReached: a stash and another branch are not saved, and named.
func TestWhatIsNotReached(t *testing.T) {
	c := newClone(t)
	c.must("git", "checkout", "-qb", "other")
	c.toil()
	c.must("git", "stash", "-q")
	c.must("git", "clean", "-qfd")
	c.must("git", "checkout", "-q", "main")
	_, err := c.Save(t.Context(), "berth/save/t", "s")
	if !errors.Is(err, work.ErrIncomplete) || !strings.Contains(err.Error(), "refs/heads/other") || !strings.Contains(err.Error(), "refs/stash") {
		t.Error(err)
	}
}

// TestUnbornAndDetached: a repository without a commit, and one whose commit no branch has.
func TestUnbornAndDetached(t *testing.T) {
	c := newClone(t)
	c.must("git", "checkout", "-q", "--orphan", "new")
	if got, err := c.Changes(t.Context()); err != nil || got.Head != "" || got.Branch != "new" || len(got.Files) == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	p, err := c.patch()
	if err != nil || !strings.Contains(p, "new file mode 100644") {
		t.Errorf("%v\n%s", err, p)
	}
	d := newClone(t)
	d.must("git", "checkout", "-q", "--detach")
	d.must("git", "commit", "-q", "--allow-empty", "-m", "on no branch")
	d.Start = d.must("git", "rev-parse", "HEAD")
	if got, err := d.Changes(t.Context()); err != nil || got.Branch != "" || !got.Clean() {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := d.Push(t.Context(), work.PushOptions{}); err == nil {
		t.Error("HEAD was pushed without a branch")
	}
}

func TestOperation(t *testing.T) {
	op, args, ok := gitwork.Operation(gitwork.Args(gitwork.OpBranch, "x"))
	if op != gitwork.OpBranch || !slices.Equal(args, []string{"x"}) || !ok {
		t.Error(op, args, ok)
	}
	if _, _, ok := gitwork.Operation([]string{"sh", "-c", "true", "berth", "x"}); ok {
		t.Error("any command is an operation")
	}
	if bytes.Contains([]byte(gitwork.Script), []byte("\r")) {
		t.Error("the script has CR")
	}
}
