package proc

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// A Holder is a process that has a socket.
type Holder struct {
	Pid  int // in its own PID namespace
	Name string
}

// FindHolders finds processes of a uid that have sockets, which are named by their inodes. Sockets that no process has open, or whose
// process cannot be seen, are left as they are.
func FindHolders(uid int, sockets map[uint64]Holder) {
	if len(sockets) == 0 {
		return
	}
	found := make(map[uint64]int)
	pids := living(uid)
	seeAs(uid, func() {
		for _, pid := range pids {
			if len(found) == len(sockets) {
				return
			}
			eachDescriptor(pid, func(name string) {
				if text, ok := strings.CutPrefix(name, "socket:["); ok {
					inode, _ := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
					if _, wanted := sockets[inode]; wanted && found[inode] == 0 {
						found[inode] = pid
					}
				}
			})
		}
	})
	for inode, pid := range found {
		sockets[inode] = describe(pid)
	}
}

// seeAs runs fn on a thread that may see what processes of a uid and a gid of that number may see. The descriptors of a process are
// for its own uid. Other than with [As], no process gets any power over the thread.
func seeAs(id int, fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		syscall.RawSyscall(syscall.SYS_SETFSGID, uintptr(id), 0, 0)
		syscall.RawSyscall(syscall.SYS_SETFSUID, uintptr(id), 0, 0)
		fn()
		syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0)
		syscall.RawSyscall(syscall.SYS_SETFSGID, 0, 0, 0)
		if now, _, _ := syscall.RawSyscall(syscall.SYS_SETFSUID, ^uintptr(0), 0, 0); now == 0 {
			runtime.UnlockOSThread()
		} // or else the thread ends with this goroutine
	}()
	<-done
}

// eachDescriptor calls a function with what each descriptor of a process is. It makes only plain system calls.
func eachDescriptor(pid int, each func(name string)) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	entries, link := make([]byte, 16<<10), make([]byte, 64)
	for {
		n, err := syscall.ReadDirent(fd, entries)
		if err != nil || n <= 0 {
			return
		}
		_, _, names := syscall.ParseDirent(entries[:n], -1, nil)
		for _, name := range names {
			if n, err := syscall.Readlink(dir+"/"+name, link); err == nil {
				each(string(link[:n]))
			}
		}
	}
}

// describe tells of a process what its own namespace sees.
func describe(pid int) (h Holder) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return Holder{}
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		switch fields := strings.Fields(value); {
		case key == "Name":
			h.Name = strings.TrimSpace(value)
		case key == "NSpid" && len(fields) > 0:
			h.Pid, _ = strconv.Atoi(fields[len(fields)-1])
		}
	}
	return h
}
