package place

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSweepRemembersLittle: a task may nest directories without end, and have any number of them beside each other. The walk that
// removes them holds few names at a time.
func TestSweepRemembersLittle(t *testing.T) {
	root := t.TempDir()
	top := filepath.Join(root, "session")
	wide := filepath.Join(top, "wide")
	if err := os.MkdirAll(wide, 0o700); err != nil {
		t.Fatal(err)
	}
	const many = 4*maxBelow + 1
	for i := range many {
		dir := filepath.Join(wide, fmt.Sprint("d", i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{dir + "/file", dir + ".file"} {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	nest(t, top, 4*maxDeep+1)

	w := walk{uid: anyone, buffer: make([]byte, sweepPiece)}
	if err := w.run(top); err != nil || len(w.failed) > 0 {
		t.Fatal(err, w.failed)
	}
	if left, err := os.ReadDir(top); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
	if n := cap(w.levels); n > 2*maxDeep {
		t.Errorf("the walk has remembered %d levels", n)
	}
	if err := removeAll(root, "session", nil); err != nil {
		t.Error(err)
	}
	if err := removeAll(root, "session", nil); err != nil {
		t.Errorf("once more: %v", err)
	}
}

// nest makes directories in one another.
func nest(t *testing.T, in string, depth int) {
	t.Helper()
	fd, err := openTop(in)
	for i := 0; i < depth && err == nil; i++ {
		if err = syscall.Mkdirat(fd, "deep", 0o700); err == nil {
			var below int
			below, err = openBelow(fd, "deep")
			syscall.Close(fd)
			fd = below
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(fd)
}

// TestSweepEndsIfNothingCanBeRemoved: directories that hold files of others stay, however many there are.
func TestSweepEndsIfNothingCanBeRemoved(t *testing.T) {
	top := t.TempDir()
	for i := range 2*maxBelow + 1 {
		if err := os.Mkdir(filepath.Join(top, fmt.Sprint(i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w := walk{uid: anyone, buffer: make([]byte, sweepPiece)}
	fd, err := openTop(top)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	l := level{}
	if err := w.read(fd, &l); err != nil {
		t.Fatal(err)
	}
	reads := 0
	for unread := true; unread && reads < 100; reads++ { // as if no directory below could be removed
		l.below = nil
		if unread, err = w.readOn(fd, &l); err != nil {
			t.Fatal(err)
		}
	}
	if reads == 100 {
		t.Error("the directory is read without end")
	}
}
