package proc

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

// Unused is a uid that no process has: neither a session's nor the mirror's. An image that has such an account is refused.
const Unused = 9998

// As runs fn on a thread whose effective uid is uid, and which has no capabilities in effect. fn must make plain system
// calls only.
//
// To signal a uid's processes or to remove its objects, the effective uid will do. But who may signal or limit a thread
// is decided by its real and its saved one, and a signal to a thread is one to the whole program. So those are uids that
// no session has: the real one, by which the thread may signal too, nobody's, and the saved one root's, which is the way
// back. Threads come back since a new one may not be had, while tasks use up the container's processes.
func As(uid int, fn func()) error {
	if uid <= 0 {
		return fmt.Errorf("cannot act as uid %d", uid)
	}
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		back, err := as(uid, fn)
		if back {
			runtime.UnlockOSThread()
		} // or else the thread ends with this goroutine
		failed <- err
	}()
	return <-failed
}

// as reports whether the thread is what it was before.
func as(uid int, fn func()) (back bool, err error) {
	if syscall.Gettid() == syscall.Getpid() { // it never goes away; Main keeps it busy
		return true, errors.New("the first thread cannot change its uid")
	}
	before := standingNow()
	if err := setresuid(Unused, uid, 0); err != nil {
		return false, err
	}
	fn()
	err = setresuid(0, 0, 0)
	return err == nil && before == standingNow(), err
}

func setresuid(real, effective, saved int) error {
	_, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(real), uintptr(effective), uintptr(saved))
	if e != 0 {
		return fmt.Errorf("setresuid: %w", e)
	}
	return nil
}

// standing is what the kernel lets anybody lower who has the effective uid of a thread, and the thread itself, without
// CAP_SYS_NICE, cannot raise again.
type standing struct {
	nice, policy, io uintptr
	cpus             [128]byte
}

func standingNow() (s standing) {
	s.nice, _, _ = syscall.RawSyscall(syscall.SYS_GETPRIORITY, 0, 0, 0)
	s.policy, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_GETSCHEDULER, 0, 0, 0)
	s.io, _, _ = syscall.RawSyscall(syscall.SYS_IOPRIO_GET, 1, 0, 0)
	syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, uintptr(len(s.cpus)), uintptr(unsafe.Pointer(&s.cpus)))
	return s
}

// Main keeps the calling goroutine on the first thread, where As never runs then. Call it from an init function.
func Main() { runtime.LockOSThread() }
