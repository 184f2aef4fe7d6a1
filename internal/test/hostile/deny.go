//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// denied are system calls that only a process with more rights may make. Each comes with valid arguments.
var denied = []struct {
	name string
	call func() error
}{
	{"unshare user", func() error { return unix.Unshare(unix.CLONE_NEWUSER) }},
	{"unshare mount", func() error { return unix.Unshare(unix.CLONE_NEWNS) }},
	{"unshare pid", func() error { return unix.Unshare(unix.CLONE_NEWPID) }},
	{"unshare network", func() error { return unix.Unshare(unix.CLONE_NEWNET) }},
	{"unshare cgroup", func() error { return unix.Unshare(unix.CLONE_NEWCGROUP) }},
	{"mount", func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") }},
	{"bind", func() error { return unix.Mount("/etc", "/tmp", "", unix.MS_BIND, "") }},
	{"remount", func() error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "") }},
	{"umount", func() error { return unix.Unmount("/tmp", unix.MNT_DETACH) }},
	{"open_tree", func() error { _, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE); return err }},
	{"fsopen", func() error { _, err := unix.Fsopen("tmpfs", 0); return err }},
	{"chroot", func() error { return unix.Chroot("/tmp") }},
	{"pivot_root", func() error { return unix.PivotRoot("/tmp", "/tmp") }},
	{"bpf", func() error {
		attr := [16]uint32{2, 4, 4, 1} // a map: an array of one
		return call(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	}},
	{"perf_event_open", func() error {
		attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}
		_, err := unix.PerfEventOpen(&attr, -1, 0, -1, 0)
		return err
	}},
	{"keyctl", func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true); return err }},
	{"add_key", func() error { _, err := unix.AddKey("user", "x", []byte("x"), unix.KEY_SPEC_USER_KEYRING); return err }},
	{"open_by_handle_at", func() error {
		h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/etc", 0)
		if err != nil {
			return err
		}
		root, _ := unix.Open("/etc", unix.O_RDONLY, 0)
		_, err = unix.OpenByHandleAt(root, h, unix.O_RDONLY)
		return err
	}},
	{"init_module", func() error { return unix.InitModule([]byte("x"), "") }},
	{"reboot", func() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_ON) }},
	{"sethostname", func() error { return unix.Sethostname([]byte("x")) }},
	{"setdomainname", func() error { return unix.Setdomainname([]byte("x")) }},
	{"acct", func() error { return unix.Acct("") }},
	{"swapoff", func() error { return call(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(&[]byte("/tmp\x00")[0])), 0, 0) }},
	{"syslog", func() error { _, err := unix.Klogctl(10, nil); return err }},
	{"clock_settime", func() error {
		return call(unix.SYS_CLOCK_SETTIME, 0, uintptr(unsafe.Pointer(&unix.Timespec{Sec: 1e9})), 0)
	}},
	{"fanotify of a file system", func() error {
		fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT, unix.O_RDONLY)
		_ = fd
		return err
	}},
	{"userfaultfd of the kernel", func() error { return call(unix.SYS_USERFAULTFD, 0, 0, 0) }},
	{"mknod", func() error { return unix.Mknod("/tmp/disk", unix.S_IFBLK|0o600, int(unix.Mkdev(254, 0))) }},
	{"setuid", func() error { return call(unix.SYS_SETUID, 0, 0, 0) }},
	{"setgid", func() error { return call(unix.SYS_SETGID, 0, 0, 0) }},
	{"setgroups", func() error { return unix.Setgroups([]int{0}) }},
	{"capset", func() error {
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		return unix.Capset(&h, &[]unix.CapUserData{{Effective: 1, Permitted: 1}, {}}[0])
	}},
	{"ambient capability", func() error { return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, 1, 0, 0) }},
	{"real-time scheduling", func() error { return call(unix.SYS_SCHED_SETSCHEDULER, 0, 1, uintptr(unsafe.Pointer(&[]int32{50}[0]))) }},
	{"a higher priority", func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -5) }},
	{"more processes", func() error { return more(unix.RLIMIT_NPROC) }},
	{"more files", func() error { return more(unix.RLIMIT_NOFILE) }},
	{"core dumps", func() error { return more(unix.RLIMIT_CORE) }},
	{"more queues", func() error { return more(unix.RLIMIT_MSGQUEUE) }},
	{"a raw socket", func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW); return err }},
	{"a packet socket", func() error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); return err }},
	{"a socket of netlink for processes", func() error {
		_, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_USERSOCK)
		return err
	}},
	{"a socket of the kernel's ciphers", func() error { _, err := unix.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0); return err }},
	{"a socket of virtual machines", func() error { _, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0); return err }},
	{"a pair of sockets of TIPC", func() error { _, err := unix.Socketpair(unix.AF_TIPC, unix.SOCK_STREAM, 0); return err }},
	{"asynchronous I/O", func() error {
		var ring uint64
		return call(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&ring)), 0)
	}},
	{"io_uring", func() error { return call(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&[120]byte{})), 0) }},
	{"a cookie of core scheduling", func() error { return unix.Prctl(unix.PR_SCHED_CORE, unix.PR_SCHED_CORE_CREATE, 0, 0, 0) }},
	{"a poll of 5,000 files", func() error {
		files := make([]unix.PollFd, 5000)
		for i := range files {
			files[i].Fd = -1
		}
		_, err := unix.Poll(files, 0)
		return err
	}},
	{"a protected OOM score", func() error { return os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0) }},
	{"a link to another's file", func() error { return os.Link("/etc/passwd", os.Getenv("HOME")+"/passwd") }},
}

func call(n, a, b, c uintptr) error {
	if _, _, e := syscall.RawSyscall(n, a, b, c); e != 0 {
		return e
	}
	return nil
}

func more(resource int) error {
	var r unix.Rlimit
	if err := unix.Getrlimit(resource, &r); err != nil {
		return err
	}
	if r.Max == unix.RLIM_INFINITY {
		return nil
	}
	r.Max++
	return unix.Setrlimit(resource, &r)
}

// deny makes the system calls, each on a thread of its own.
func deny() error {
	for _, d := range denied {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // and never unlocks it
			done <- d.call()
		}()
		if err := <-done; err == nil {
			harm("%s succeeds", d.name)
		}
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || n != 1 {
		harm("programs may gain rights: %d, %v", n, err)
	}
	out, err := exec.Command("find", "/", "-xdev", "-perm", "/6000", "-type", "f").Output()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		return err
	}
	for _, file := range strings.Fields(string(out)) {
		cmd := exec.Command(file)
		if cmd.Start() == nil {
			status, _ := os.ReadFile("/proc/" + itoa(cmd.Process.Pid) + "/status")
			if strings.Contains(string(status), "\nUid:\t") && !strings.Contains(string(status), "\nUid:\t"+itoa(os.Getuid())+"\t"+itoa(os.Getuid())) {
				harm("%s runs as another: %s", file, status)
			}
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	return nil
}
