package warden

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	// maxSockets is where a count of sockets ends: no honest session has so many.
	maxSockets = 1 << 14
	// maxFiles is how many open files of a room are looked at. A room with more counts as if the others were sockets: forked
	// processes make any number of files out of a few.
	maxFiles = 1 << 18
)

// sockets counts the sockets that the processes of a room have open, and the files that wait in these sockets to be received,
// which may be sockets, too.
func (c *container) sockets(ctx context.Context, id string) (int, error) {
	if !validID(id) {
		return 0, errors.New("bad ID of a room")
	}
	if err := c.ready(); err != nil {
		return 0, err
	}
	s := socketCount{seen: make(map[string]bool)}
	pids := c.groups.procs(id)
	slices.Sort(pids)
	for _, pid := range slices.Compact(pids) { // each is in a cgroup of every hierarchy
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if s.process(pid); s.over() {
			break
		}
	}
	return s.n, nil
}

// A socketCount counts sockets.
type socketCount struct {
	n     int
	files int
	seen  map[string]bool // sockets by their names
}

func (s *socketCount) over() bool { return s.n >= maxSockets }

// process counts those of a process.
func (s *socketCount) process(pid int) {
	eachTask(pid, func(tid int, own bool) (goOn bool) {
		if own {
			s.table(procPath(tid, ""))
		}
		return !s.over()
	})
}

// eachTask calls a function for the threads of a process, which may have tables of files of their own, also if the first one has
// ended. own is false for a thread whose table was that of an earlier one.
func eachTask(pid int, each func(tid int, own bool) (goOn bool)) {
	tasks, err := os.Open(procPath(pid, "task"))
	if err != nil {
		return
	}
	defer tasks.Close()
	before := 0
	for {
		names, err := tasks.Readdirnames(64)
		for _, name := range names {
			tid, err := strconv.Atoi(name)
			if err != nil {
				continue
			}
			own := before == 0 || !sameFiles(before, tid)
			if own {
				before = tid
			}
			if !each(tid, own) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// sameFiles reports whether two tasks have one table of files.
func sameFiles(a, b int) bool {
	const kcmpFiles = 2
	order, _, e := syscall.RawSyscall6(sysKcmp, uintptr(a), uintptr(b), kcmpFiles, 0, 0, 0)
	return e == 0 && order == 0
}

// table counts those of one table of files, by the task's directory in /proc.
func (s *socketCount) table(dir string) {
	fds, err := os.Open(filepath.Join(dir, "fd"))
	if err != nil {
		return
	}
	defer fds.Close()
	for {
		names, err := fds.Readdirnames(1024)
		for _, fd := range names {
			if s.files++; s.files > maxFiles {
				s.n++
			} else {
				s.file(dir, fd)
			}
			if s.over() {
				return
			}
		}
		if err != nil && err != io.EOF || len(names) == 0 {
			return
		}
	}
}

func (s *socketCount) file(dir, fd string) {
	name, err := os.Readlink(filepath.Join(dir, "fd", fd))
	if err != nil || !strings.HasPrefix(name, "socket:") || s.seen[name] {
		return
	}
	s.seen[name] = true
	s.n++
	info, _ := os.ReadFile(filepath.Join(dir, "fdinfo", fd))
	waiting, _ := strconv.Atoi(parseStatus(string(info))["scm_fds"])
	s.n += max(waiting, 0)
}
