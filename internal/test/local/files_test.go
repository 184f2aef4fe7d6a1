package local_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/files"
	"github.com/berth-go/berth/files/filestest"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/orchestrator"
)

// TestLocalFiles: the files of a session in a container are those that its commands see, with the rights that they have.
func TestLocalFiles(t *testing.T) {
	l := local.New(t, berth.Config{Limits: orchestrator.Limits{Session: orchestrator.SessionLimits{TmpBytes: 64 << 20}}})
	remote := l.Git.Create("org/files", gittest.Files(map[string]string{
		"README": "hello\n", "bin/run": "#!/bin/sh\n", "etc/passwd": "none\n", "a/b/c.txt": "c", "tmp/x": "x",
	}))
	s, other := l.Create("task", remote.URL(), ""), l.Create("other", remote.URL(), "")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	fsys := s.FS(ctx)
	home := path.Join(path.Dir(s.Info().Workdir), "home")

	t.Run("checkout", func(t *testing.T) {
		if err := fstest.TestFS(fsys, "README", "bin/run", "etc/passwd", "a/b/c.txt", ".git/HEAD"); err != nil {
			t.Error(err)
		}
	})
	t.Run("conformance", func(t *testing.T) {
		filestest.Run(t, filestest.Harness{FS: fsys, Home: home, Temp: "/tmp"})
	})
	t.Run("commands", func(t *testing.T) { commandsSee(t, s, fsys) })
	t.Run("hostile", func(t *testing.T) { refused(t, s, other, fsys) })
	t.Run("full", func(t *testing.T) {
		f, err := fsys.Create("/tmp/full")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		n, err := io.Copy(f, io.LimitReader(zeros{}, 64<<30))
		if !errors.Is(err, syscall.ENOSPC) || n == 0 {
			t.Errorf("a full /tmp took %d bytes, and said %v", n, err)
		}
		t.Logf("it took %d bytes", n)
		if err := fsys.Remove("/tmp/full"); err != nil {
			t.Error(err)
		}
	})
	t.Run("killed", func(t *testing.T) { killed(t, s, fsys) })
	t.Run("end", func(t *testing.T) {
		if err := fsys.WriteFile("big", filestest.Content(4<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := fsys.CopyOut("big")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		watch := fsys.Watch(ctx, ".")
		f, err := fsys.Open("README")
		if err != nil {
			t.Fatal(err)
		}
		if err := l.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Fatal(err)
		}
		_, failed := io.Copy(io.Discard, r)
		_, read := f.Read(make([]byte, 1))
		_, stat := fsys.Stat(".")
		var watched error
		for _, watched = range watch {
		}
		for what, err := range map[string]error{"CopyOut": failed, "Read": read, "Stat": stat, "Watch": watched} {
			if !errors.Is(err, berth.ErrTerminated) {
				t.Errorf("%s after the end of the session: %v", what, err)
			}
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// commandsSee compares what files and commands of a session see. The program that serves the files is no command.
func commandsSee(t *testing.T, s *berth.Session, fsys *files.FS) {
	if err := fsys.WriteFile("made", []byte("by a file\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if got := local.Sh(t, s, `cat made; stat -c '%a %U' made; id -un; echo "by a command" > made; mkfifo pipe; ln -s ../../../proc/1/environ secret`); got != "by a file\n644 "+lastWord(got)+"\n"+lastWord(got) {
		t.Errorf("a command sees %q", got)
	}
	if got, err := fsys.ReadFile("made"); err != nil || string(got) != "by a command\n" {
		t.Errorf("ReadFile returned %q, %v", got, err)
	}
	watch := fsys.Watch(t.Context(), ".")
	local.Sh(t, s, "echo x >> a/b/c.txt; mkdir a/new; echo y > a/new/file")
	want := map[string]bool{"a/b/c.txt": true, "a/new": true, "a/new/file": true}
	for e, err := range watch {
		if err != nil {
			t.Fatalf("the watch ended with %v, and has not told of %v", err, want)
		}
		if delete(want, e.Name); len(want) == 0 {
			break
		}
	}
	for c, err := range s.Commands(t.Context()) {
		if err != nil || c.Args[0] != "sh" {
			t.Errorf("the session has the command %q, %v", c.Args, err)
		}
	}
}

func lastWord(s string) string { f := strings.Fields(s); return f[len(f)-1] }

// refused tries to see more than the session may, and what would hold up a reader.
func refused(t *testing.T, s, other *berth.Session, fsys *files.FS) {
	if _, err := fsys.Open("pipe"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Open of a named pipe returned %v", err)
	}
	if _, err := fsys.ReadFile("secret"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("by a link to the environment of another uid: %v", err)
	}
	if _, err := fsys.ReadLink("secret"); err != nil {
		t.Error(err)
	}
	root, err := fsys.Sub("/")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc/shadow", "proc/1/environ", "berth/run/agent.sock", strings.TrimPrefix(other.Info().Workdir, "/") + "/README"} {
		if b, err := fs.ReadFile(root, name); !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("/%s has %d bytes, %v", name, len(b), err)
		}
	}
	if err := root.(*files.FS).WriteFile("usr/bin/planted", nil, 0o755); !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		t.Errorf("WriteFile in /usr/bin returned %v", err)
	}
	if _, err := fs.Stat(root, "usr/bin"); err != nil {
		t.Error(err)
	}
}

// killed lets the session kill the program that serves its files. What is open is lost, and the next use starts another.
func killed(t *testing.T, s *berth.Session, fsys *files.FS) {
	f, err := fsys.OpenFile("README", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	local.Sh(t, s, `for p in /proc/[0-9]*; do if tr '\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^/berth/bin/berth-agent files'; then kill -9 ${p#/proc/}; fi; done`)
	if _, err := io.ReadAll(f); !errors.Is(err, berth.ErrUnavailable) {
		t.Errorf("Read of a file whose program was killed returned %v", err)
	}
	if _, err := f.Stat(); !errors.Is(err, berth.ErrUnavailable) {
		t.Errorf("Stat of it returned %v", err)
	}
	f.Close()
	if b, err := fsys.ReadFile("README"); err != nil || string(b) != "hello\n" {
		t.Errorf("afterwards ReadFile returned %q, %v", b, err)
	}
}
