package sqlitestore_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/sqlitestore"
)

// TestDiskFull fills a small file system: Updates that find no room change nothing and say why, those that fit and those
// that only look succeed, and with room all goes on.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=0700"); err != nil {
		testenv.Missing(t, "needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "berth.db")
	filler := filepath.Join(dir, "filler")
	s := openAt(t, path)
	if err := s.Update(t.Context(), nil, appendOne); err != nil {
		t.Fatal(err)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	write(t, filler, make([]byte, int64(st.Bavail)*st.Bsize-200_000))

	full := 0
	for n := logLength(t, s); full < 5; {
		err := s.Update(t.Context(), nil, appendOne)
		switch {
		case err == nil:
			n++
		case errors.Is(err, sqlitestore.ErrFull) && !errors.Is(err, store.ErrUnknownOutcome):
			full++
		default:
			t.Fatalf("Update: %v, want ErrFull", err)
		}
		if n > 1000 {
			t.Fatal("the disk does not get full")
		}
		if full > 0 && logLength(t, s) != n {
			t.Fatalf("an Update that found no room has changed something: %d, want %d", logLength(t, s), n)
		}
	}
	if err := s.Update(t.Context(), nil, func(tx store.Tx) error { _, err := tx.Get(counter); return err }); err != nil {
		t.Errorf("an Update that only looks: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	n := logLength(t, s)
	if err := s.Update(t.Context(), nil, appendOne); err != nil {
		t.Fatalf("Update with room: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if m := logLength(t, openAt(t, path)); m != n+1 {
		t.Errorf("after all a log of %d, want %d", m, n+1)
	}
}

// TestWriteFails lets the system refuse to write, which is no full disk: then nobody knows whether the log holds the
// commit, and the store says so. It works on when the system does.
func TestWriteFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	lines := startChild(t, "write with a small limit", path, nil).rest()
	if len(lines) < 4 {
		t.Fatalf("the child says only %q", lines)
	}
	acknowledged, unknown, after := 0, 0, 0
	for _, line := range lines {
		word, number, _ := strings.Cut(line, " ")
		n, err := strconv.Atoi(number)
		switch {
		case err != nil:
			t.Fatalf("the child says: %s", line)
		case word == "committed" && unknown == 0:
			acknowledged = n
		case word == "unknown":
			unknown++
		case word == "committed":
			after = n
		}
	}
	if acknowledged == 0 || unknown == 0 || after == 0 {
		t.Errorf("%d commits, %d of unknown outcome, then up to %d: want some of each", acknowledged, unknown, after)
	}
	if n := logLength(t, openAt(t, path)); n != after {
		t.Errorf("the log ends at %d, and %d was the last that was acknowledged", n, after)
	}
}

// writeWithLimit appends to the log until the files have reached a limit, and some more when it is lifted.
func writeWithLimit(path string) error {
	s, err := sqlitestore.Open(ctxOfChild(), path)
	if err != nil {
		return err
	}
	defer s.Close()
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	limit := syscall.Rlimit{Cur: 300_000, Max: was.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for unknown, after := 0, 0; after < 3; {
		var n int
		err := s.Update(ctxOfChild(), nil, func(tx store.Tx) (err error) { n, err = appendNext(tx); return err })
		switch {
		case err == nil:
			fmt.Println("committed", n)
			if unknown > 0 {
				after++
			}
		case errors.Is(err, store.ErrUnknownOutcome):
			fmt.Println("unknown", n)
			if unknown++; unknown == 3 {
				if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
					return err
				}
			}
		default:
			return err
		}
	}
	return nil
}

// TestReadOnly opens databases as somebody who may not write them.
func TestReadOnly(t *testing.T) {
	nobody := func(*exec.Cmd) {}
	if os.Getuid() == 0 { // who may write everything
		nobody = func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
	}
	// t.TempDir is below a directory that no other user may enter, and the test binary may be, too.
	dir, err := os.MkdirTemp("", "berth-readonly-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.Chmod(dir, 0o700)
		os.RemoveAll(dir)
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "child")
	if err := os.Link(self, binary); err != nil {
		write(t, binary, read(t, self))
	}
	if err := os.Chmod(binary, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		dir, file os.FileMode
		written   bool
	}{
		{"file", 0o777, 0o444, false},
		{"directory", 0o555, 0o666, false},
		{"neither", 0o777, 0o666, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := filepath.Join(dir, c.name)
			path := filepath.Join(in, "berth.db")
			if err := os.Mkdir(in, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := openAt(t, path).Close(); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Chmod(path, c.file), os.Chmod(in, c.dir), os.Chmod(dir, 0o755)); err != nil {
				t.Fatal(err)
			}
			got := startChild(t, "open", path, func(cmd *exec.Cmd) {
				cmd.Path = binary
				nobody(cmd)
			}).output()
			if c.written && got != "written" || !c.written && !strings.Contains(got, sqlitestore.ErrReadOnly.Error()) {
				t.Errorf("the child says: %s", got)
			}
		})
	}
}
