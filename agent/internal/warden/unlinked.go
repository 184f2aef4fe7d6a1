package warden

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// held names the files of a room whose sizes are asked for.
type held struct {
	ID  string `json:"id"`  // of the room
	Dir string `json:"dir"` // a directory on the file system that matters
}

// mostHeld bounds how many open files are looked at. More take seconds.
const mostHeld = 500_000

// unlinked returns how many bytes the files take that were removed and that processes of a room still have open or mapped. No walk
// through directories finds them. It does not find a file that waits in a socket alone.
func (c *container) unlinked(h held) (bytes int64, err error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	if !validID(h.ID) || !filepath.IsAbs(h.Dir) {
		return 0, errors.New("bad room or directory")
	}
	dir, err := c.openIn(h.Dir)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(dir)
	var own syscall.Stat_t
	if err := syscall.Fstat(dir, &own); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	u := unlinkedCount{dev: own.Dev, left: mostHeld, seen: make(map[file]bool)}
	pids := c.inside(h.ID)
	slices.Sort(pids)
	for _, pid := range slices.Compact(pids) { // each is in a cgroup of every hierarchy
		if u.process(pid); u.left <= 0 {
			break
		}
	}
	return u.bytes, nil
}

// An unlinkedCount counts the bytes of removed files on one file system.
type unlinkedCount struct {
	dev   uint64
	left  int // files that may still be looked at
	seen  map[file]bool
	bytes int64
}

type file struct{ dev, ino uint64 }

// counts reports whether a file is on the file system, or in an overlay: the session's overlays are the only ones whose files it can
// remove, and what it has written to them is on that file system. A removed file of the layer below counts, too, as in a checkout of
// the session's own.
func (u *unlinkedCount) counts(path string, st *syscall.Stat_t) bool {
	const overlayMagic = 0x794c7630
	var fs syscall.Statfs_t
	return st.Dev == u.dev || syscall.Statfs(path, &fs) == nil && int64(fs.Type) == overlayMagic
}

// process counts those of a process.
func (u *unlinkedCount) process(pid int) {
	mapped := false
	eachTask(pid, func(tid int, own bool) (goOn bool) {
		if own {
			u.files(procPath(tid, "fd"))
		}
		if !mapped && u.left > 0 { // all threads have one memory, which one that has ended does not show
			mapped = u.files(procPath(tid, "map_files"))
		}
		return u.left > 0
	})
}

// files counts those of a directory of links, and reports whether it has any.
func (u *unlinkedCount) files(from string) (any bool) {
	dir, err := os.Open(from)
	if err != nil {
		return false // it has ended
	}
	names, _ := dir.Readdirnames(u.left)
	dir.Close()
	for _, name := range names {
		var st syscall.Stat_t
		path := filepath.Join(from, name)
		if u.left--; syscall.Stat(path, &st) != nil || st.Nlink != 0 {
			continue
		}
		if f := (file{st.Dev, st.Ino}); !u.seen[f] && u.counts(path, &st) {
			u.seen[f] = true
			u.bytes += st.Blocks * 512
		}
	}
	return len(names) > 0
}
