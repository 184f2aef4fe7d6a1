//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// cling leaves processes of all kinds that are hard to end, and exits.
func cling() error {
	runtime.LockOSThread()
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	start := func(attr *syscall.SysProcAttr) (int, error) {
		cmd := exec.Command("/bin/sleep", "1000")
		cmd.SysProcAttr = attr
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		return cmd.Process.Pid, nil
	}
	stopped, err := start(&syscall.SysProcAttr{Setsid: true})
	if err != nil {
		return err
	}
	syscall.Kill(stopped, syscall.SIGSTOP)
	if _, err := start(&syscall.SysProcAttr{Setpgid: true}); err != nil {
		return err
	}
	// Processes without a parent.
	if err := exec.Command("/bin/sh", "-c", "(sleep 1000 & sleep 1000 & (sleep 1000 & (trap '' TERM HUP; sleep 1000) &) &) & exit 0").Run(); err != nil {
		return err
	}
	traced, err := start(&syscall.SysProcAttr{Setsid: true, Ptrace: true})
	if err != nil {
		return err
	}
	// A parent that waits for its child of vfork, which has stopped.
	vfork := exec.Command("/bin/sh", "-c", "kill -STOP $$")
	vfork.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := vfork.Start(); err != nil {
		return err
	}
	r, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if e == 0 && r == 0 {
		unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.CLONE_VFORK|syscall.SIGCHLD), 0, 0, 0, 0, 0)
		for { // the child of vfork and its parent alike
			unix.RawSyscall(unix.SYS_PPOLL, 0, 0, 0)
		}
	}
	fmt.Println("clings", stopped, traced)
	fmt.Println("all")
	hold()
	return nil
}

// move renames directories without pause, each below another.
func move(args []string) error {
	const many = 40
	if err := os.Chdir(args[0]); err != nil {
		return err
	}
	for i := range many {
		if err := os.MkdirAll(fmt.Sprintf("a%d/in/deep/er", i), 0o777); err != nil {
			return err
		}
	}
	fmt.Println("all")
	for i := 0; ; i = (i + 1) % many {
		from, to := fmt.Sprintf("a%d/in", i), fmt.Sprintf("a%d/moved", (i+7)%many)
		if os.Rename(from, to) != nil {
			os.Rename(to, from)
		}
	}
}
