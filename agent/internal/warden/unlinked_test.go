package warden

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// TestRemovedFilesOfEachThreadAreCounted: a thread may have a table of files that the process's first one does not show.
func TestRemovedFilesOfEachThreadAreCounted(t *testing.T) {
	const size = 1 << 20
	dir := t.TempDir()
	var own syscall.Stat_t
	if err := syscall.Stat(dir, &own); err != nil {
		t.Fatal(err)
	}
	remove := func(name string) *os.File {
		name = filepath.Join(dir, name)
		f, err := os.Create(name)
		if err == nil {
			_, err = f.Write(make([]byte, size))
		}
		if err == nil {
			err = os.Remove(name)
		}
		if err != nil {
			t.Error(err)
		}
		return f
	}
	count := func() int64 {
		u := unlinkedCount{dev: own.Dev, left: mostHeld, seen: make(map[file]bool)}
		u.process(os.Getpid())
		return u.bytes
	}
	before := count()
	shared := remove("shared")
	defer shared.Close()
	if got := count() - before; got < size {
		t.Errorf("a file that all threads have: %d bytes", got)
	}
	counted := make(chan struct{})
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := syscall.Unshare(syscall.CLONE_FILES)
		var fd int
		if err == nil {
			fd, err = syscall.Open(filepath.Join(dir, "own"), syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o600)
		}
		if err == nil {
			_, err = syscall.Write(fd, make([]byte, size))
		}
		if err == nil {
			err = syscall.Unlink(filepath.Join(dir, "own"))
		}
		ready <- err
		<-counted
	}()
	defer close(counted)
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	if got := count() - before; got < 2*size {
		t.Errorf("with a file that one thread alone has: %d bytes", got)
	}
}
