package mirror

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"github.com/berth-go/berth/agent/internal/disk"
	"github.com/berth-go/berth/agent/internal/git"
)

// tidy removes the files that an interrupted git left. No git may run.
func tidy(repo string) {
	filepath.WalkDir(repo, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		name := d.Name()
		litter := strings.HasPrefix(name, "tmp_") || strings.HasPrefix(name, ".tmp-") || strings.HasPrefix(name, "incoming-")
		switch {
		case d.IsDir() && !litter:
		case strings.HasSuffix(name, ".lock"), path == filepath.Join(repo, "packed-refs.new"), path == filepath.Join(repo, "HEAD.new"):
			os.Remove(path)
		case litter && strings.HasPrefix(path, filepath.Join(repo, "objects")):
			os.RemoveAll(path)
			if d.IsDir() {
				return fs.SkipDir
			}
		}
		return nil
	})
}

// intact reports whether every pack and its index are complete. It is fast, and finds the damage of a machine that stopped at the
// wrong moment. Other damage is for git fsck to find.
func intact(repo string, hashSize int) bool { return len(brokenPacks(repo, hashSize)) == 0 }

// brokenPacks returns the packs that are not whole, without their endings.
func brokenPacks(repo string, hashSize int) (broken []string) {
	indexes, _ := filepath.Glob(filepath.Join(repo, "objects", "pack", "*.idx"))
	for _, file := range indexes {
		base := strings.TrimSuffix(file, ".idx")
		index, err1 := tail(file, 2*hashSize) // the pack's hash, then its own
		pack, err2 := tail(base+".pack", hashSize)
		if err1 != nil || err2 != nil || !bytes.Equal(index[:hashSize], pack) {
			broken = append(broken, base)
		}
	}
	return broken
}

// dropBroken removes the packs that are not whole: git complains of them wherever it looks.
func dropBroken(repo string, hashSize int) {
	for _, base := range brokenPacks(repo, hashSize) {
		rest, _ := filepath.Glob(base + ".*")
		for _, file := range append([]string{base + ".idx"}, rest...) {
			os.Remove(file)
		}
	}
}

// tail returns the last n bytes of a file.
func tail(file string, n int) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(int64(-n), io.SeekEnd); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(f, b)
	return b, err
}

// size returns the bytes that a tree takes on disk.
func size(root string) (bytes int64) {
	filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				bytes += st.Blocks * 512
			}
		}
		return nil
	})
	return bytes
}

// watch returns a function that says whether a fetch into a repository has brought more than it may, or has used up the disk,
// which other repositories and sessions need too.
func (m *Mirror) watch(repo string) func() error {
	packs := filepath.Join(repo, "objects", "pack")
	before := sizeOf(packs)
	return func() error {
		if err := m.Limits.checkFetch(sizeOf(packs) - before); err != nil {
			return err
		}
		left, err := disk.Of(m.Dir)
		if err == nil && left.Bytes < left.Kept && m.FreeRoom != nil && m.FreeRoom(m.ctx) == nil {
			left, err = disk.Of(m.Dir)
		}
		if err == nil && left.Bytes < left.Kept {
			return &git.Error{Op: "fetch", Message: fmt.Sprintf("No space left on device: %d KiB are free, and %d KiB are kept for others", left.Bytes>>10, left.Kept>>10)}
		}
		return nil
	}
}

// sizeOf returns the bytes of the files in a directory.
func sizeOf(dir string) (bytes int64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// free returns the bytes that are left on a file system.
func free(path string) int64 {
	room, err := disk.Of(path)
	if err != nil {
		return 0
	}
	return room.Bytes
}

// exchange swaps two directories in one step.
func exchange(a, b string) error {
	pa, err := syscall.BytePtrFromString(a)
	if err != nil {
		return err
	}
	pb, err := syscall.BytePtrFromString(b)
	if err != nil {
		return err
	}
	const atFDCWD, renameExchange = -100, 2
	cwd := atFDCWD
	_, _, e := syscall.Syscall6(sysRenameat2, uintptr(cwd), uintptr(unsafe.Pointer(pa)), uintptr(cwd), uintptr(unsafe.Pointer(pb)), renameExchange, 0)
	if e != 0 {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: e}
	}
	return nil
}
