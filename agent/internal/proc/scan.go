package proc

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// info is the content of /proc/PID/status.
type info struct {
	pid     int
	dead    bool // a zombie: nothing of it runs
	stopped bool
	uids    [4]int
	groups  []int
}

// has reports whether any of the uids of a process is uid.
func (p info) has(uid int) bool { return slices.Contains(p.uids[:], uid) }

// scans bounds how many goroutines list the processes at once. Each uses a thread, and there may be no new one.
var scans = make(chan struct{}, 8)

// each calls fn for every process that it can see. vanished counts the processes that ended before they could be read. Such a
// process may have left a child that is not on the list.
func each(fn func(info)) (vanished int) {
	scans <- struct{}{}
	defer func() { <-scans }()
	dir, err := os.Open("/proc")
	if err != nil {
		return 1
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	buf := make([]byte, 8<<10)
	for _, name := range names {
		if name[0] < '1' || name[0] > '9' {
			continue
		}
		if pid, err := strconv.Atoi(name); err == nil {
			if p, ok := read(pid, buf); ok {
				fn(p)
			} else {
				vanished++
			}
		}
	}
	return vanished
}

// read reads one process's status into buf.
func read(pid int, buf []byte) (info, bool) {
	fd, err := syscall.Open("/proc/"+strconv.Itoa(pid)+"/status", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return info{}, false
	}
	defer syscall.Close(fd)
	n, err := syscall.Read(fd, buf)
	if err != nil {
		return info{}, false
	}
	p := info{pid: pid}
	for line := range bytes.Lines(buf[:n]) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		fields := bytes.Fields(value)
		switch string(key) {
		case "State":
			if len(fields) > 0 {
				state := fields[0][0]
				p.dead, p.stopped = state == 'Z' || state == 'X', state == 'T'
			}
		case "Uid":
			for i := range min(len(fields), len(p.uids)) {
				p.uids[i], _ = strconv.Atoi(string(fields[i]))
			}
		case "Groups":
			for _, f := range fields {
				g, _ := strconv.Atoi(string(f))
				p.groups = append(p.groups, g)
			}
			return p, true // nothing that matters comes after it
		}
	}
	return p, true
}

// living returns the processes of a uid that are not zombies, without this one.
func living(uid int) []int {
	var pids []int
	self := os.Getpid()
	each(func(p info) {
		if !p.dead && p.pid != self && p.has(uid) {
			pids = append(pids, p.pid)
		}
	})
	return pids
}

// census has the processes that carry a mark.
type census struct {
	pids    []int // without zombies
	running int   // of them, those that are not stopped
	sure    bool  // none was missed
}

func carriers(mark int) (c census) {
	ending := 0
	vanished := each(func(p info) {
		switch {
		case !slices.Contains(p.groups, mark):
		case p.dead:
			ending++
		default:
			c.pids = append(c.pids, p.pid)
			if !p.stopped {
				c.running++
			}
		}
	})
	c.sure = vanished+ending == 0
	return c
}
