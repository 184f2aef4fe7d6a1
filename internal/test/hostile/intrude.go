//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// intrude tries to reach processes that are not the session's own.
func intrude() error {
	runtime.LockOSThread() // ptrace knows threads
	for _, pid := range listed() {
		if pid != 1 && !own(pid) {
			harm("process %d of another can be seen", pid)
		}
	}
	for pid := 1; pid <= 65536; pid++ {
		if err := syscall.Kill(pid, 0); err == nil && !own(pid) && own(os.Getpid()) && syscall.Kill(pid, 0) == nil {
			harm("process %d of another can be signalled", pid)
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGSTOP} {
		if syscall.Kill(1, sig) == nil {
			harm("the init takes signal %d", sig)
		}
	}
	if syscall.PtraceAttach(1) == nil {
		harm("the init can be traced")
	}
	buffer := make([]byte, 8)
	local := []unix.Iovec{{Base: &buffer[0], Len: 8}}
	for _, from := range []uintptr{0x400000, 0xc000000000} {
		if _, err := unix.ProcessVMReadv(1, local, []unix.RemoteIovec{{Base: from, Len: 8}}, 0); err == nil {
			harm("the init's memory can be read")
		}
		if _, err := unix.ProcessVMWritev(1, local, []unix.RemoteIovec{{Base: from, Len: 8}}, 0); err == nil {
			harm("the init's memory can be written")
		}
	}
	if fd, err := unix.PidfdOpen(1, 0); err == nil {
		if unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0) == nil {
			harm("the init takes a signal by its pidfd")
		}
		if _, err := unix.PidfdGetfd(fd, 3, 0); err == nil {
			harm("the init's control socket can be taken")
		}
		if unix.Setns(fd, unix.CLONE_NEWNS|unix.CLONE_NEWPID) == nil {
			harm("the init's namespaces can be entered")
		}
	}
	for _, name := range []string{"environ", "mem", "maps", "root/", "cwd/", "fd/", "ns/pid", "ns/mnt", "task/1/mem", "map_files/"} {
		if f, err := os.Open("/proc/1/" + name); err == nil {
			f.Close()
			harm("/proc/1/%s can be opened", name)
		}
	}
	for _, ns := range []string{"pid", "mnt", "ipc", "net", "user", "uts", "cgroup"} {
		if fd, err := unix.Open("/proc/self/ns/"+ns, unix.O_RDONLY, 0); err == nil && unix.Setns(fd, 0) == nil {
			harm("its own %s namespace can be entered anew", ns)
		}
	}
	for _, kind := range []uintptr{1, 2, 3} { // a process, a group, a user
		who := uintptr(0)
		if kind == 1 {
			who = 1
		}
		if kind != 3 {
			if _, _, e := syscall.Syscall(syscall.SYS_SETPRIORITY, kind-1, 1, ^uintptr(0)-19); kind == 1 && e == 0 {
				harm("the init's priority can be set")
			}
		}
		if _, _, e := syscall.Syscall(unix.SYS_IOPRIO_SET, kind, who, 1<<13); kind == 1 && e == 0 {
			harm("the real-time class of the disk can be had")
		}
	}
	if _, _, e := syscall.Syscall6(unix.SYS_PRLIMIT64, 1, syscall.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&syscall.Rlimit{})), 0, 0); e == 0 {
		harm("the init's limits can be read")
	}
	syscall.Kill(-1, syscall.SIGWINCH) // to all that it may, which are its own
	fmt.Println("tried", len(listed()))
	return nil
}
