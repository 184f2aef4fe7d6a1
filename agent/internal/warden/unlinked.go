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
	u := unlinkedCount{dev: own.Dev, left: mostHeld, seen: make(map[uint64]bool)}
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
	left  int             // files that may still be looked at
	seen  map[uint64]bool // by inode
	bytes int64
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
		if u.left--; syscall.Stat(filepath.Join(from, name), &st) == nil && st.Nlink == 0 && st.Dev == u.dev && !u.seen[st.Ino] {
			u.seen[st.Ino] = true
			u.bytes += st.Blocks * 512
		}
	}
	return len(names) > 0
}
