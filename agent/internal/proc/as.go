package proc

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

// Unused is a uid that no process has, of a session or of the mirror. An image that has such an account is refused.
const Unused = 9998

// As runs fn on a thread whose effective uid is uid and that has no effective capabilities. fn must make only plain system
// calls.
//
// The effective uid is enough to signal a uid's processes and to remove its objects. But the real and the saved uid of a
// thread decide who may signal or limit the thread, and a signal to a thread is a signal to the whole program. So these two
// are uids that no session has. The real uid, by which the thread may signal too, is Unused. The saved uid is root's, which is
// the way back. Threads are used again, since there may be no new one while tasks use up the container's processes.
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

// as reports whether the thread has its old uids again.
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

// standing is the scheduling of a thread. Any process with the thread's effective uid may lower it, and the thread itself cannot
// raise it again without CAP_SYS_NICE.
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
