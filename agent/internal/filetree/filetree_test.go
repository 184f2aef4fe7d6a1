package filetree_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/berth-go/berth/agent/internal/filetree"
	"github.com/berth-go/berth/files"
	"github.com/berth-go/berth/files/filestest"
)

func serve(t *testing.T) (fsys *files.FS, checkout string) {
	top, err := os.MkdirTemp("/dev/shm", "berth-files-") // in memory
	if err != nil {
		top = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	checkout = filepath.Join(top, "checkout")
	for _, dir := range []string{checkout, filepath.Join(top, "home")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filestest.Direct(t, filetree.New(checkout), checkout), checkout
}

func TestConformance(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o022))
	fsys, checkout := serve(t)
	filestest.Run(t, filestest.Harness{FS: fsys, Home: filepath.Join(filepath.Dir(checkout), "home"), Temp: checkout, Root: os.Getuid() == 0})
}

// TestPipesAndDevices: nobody waits for the other end of a named pipe.
func TestPipesAndDevices(t *testing.T) {
	fsys, checkout := serve(t)
	if err := syscall.Mkfifo(filepath.Join(checkout, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/tty", filepath.Join(checkout, "terminal")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", filepath.Join(checkout, "null")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "null"} {
		if _, err := fsys.Open(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open of %s returned %v", name, err)
		}
		if err := fsys.WriteFile(name, []byte("x"), 0o644); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("WriteFile to %s returned %v", name, err)
		}
		if _, err := fsys.ReadFile(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("ReadFile of %s returned %v", name, err)
		}
	}
	if _, err := fsys.ReadFile("terminal"); err == nil {
		t.Error("a terminal was read")
	}
	if i, err := fsys.Lstat("pipe"); err != nil || i.Mode().Type() != fs.ModeNamedPipe {
		t.Errorf("Lstat returned %v, %v", i, err)
	}
}

// TestManyFiles: a directory of any size is read in parts.
func TestManyFiles(t *testing.T) {
	fsys, checkout := serve(t)
	many := 20_000
	if os.Getenv("BERTH_SOAK") != "" {
		many = 100_000
	}
	for i := range many {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", checkout, i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	filestest.ReadLarge(t, fsys, ".", many)
}
