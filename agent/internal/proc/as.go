package proc

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

// As runs fn on a thread that has the ids of uid and no capabilities. fn must make plain system calls only.
//
// Until the thread is gone, processes of that uid may signal it, and a signal to one thread of a program is one to
// the program. So the thread blocks all signals first; what is pending on it vanishes with it. It must not be the
// first thread, which never goes away: Main keeps that one busy.
func As(uid int, fn func()) error {
	if uid <= 0 {
		return fmt.Errorf("cannot act as uid %d", uid)
	}
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		failed <- func() error {
			if syscall.Gettid() == syscall.Getpid() {
				return errors.New("the first thread cannot change its uid")
			}
			all := ^uint64(0)
			if _, _, e := syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, 0, uintptr(unsafe.Pointer(&all)), 0, 8, 0, 0); e != 0 {
				return fmt.Errorf("sigprocmask: %w", e)
			}
			id := uintptr(uid)
			if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESGID, id, id, id); e != 0 {
				return fmt.Errorf("setresgid: %w", e)
			}
			if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, id, id, id); e != 0 {
				return fmt.Errorf("setresuid: %w", e)
			}
			fn()
			return nil
		}()
	}()
	return <-failed
}

// Prewarm makes n threads at once, which the Go runtime then keeps for later. Creating a thread while tasks have used
// up the container's processes would end this program, and with it the container.
func Prewarm(n int) {
	var ready, done sync.WaitGroup
	release := make(chan struct{})
	ready.Add(n)
	for range n {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			<-release
		})
	}
	ready.Wait()
	close(release)
	done.Wait()
}

// LimitProcesses sets RLIMIT_NPROC of this program: what it starts inherits it. Root itself is exempt.
func LimitProcesses(n int) error {
	limit := syscall.Rlimit{Cur: uint64(n), Max: uint64(n)}
	_, _, e := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, rlimitNPROC, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if e != 0 {
		return fmt.Errorf("prlimit: %w", e)
	}
	return nil
}

const rlimitNPROC = 6

// LimitFiles sets how many files what this program starts may have open: n, or what the hard limit allows if that is
// less. The hard limit stays. It holds for this program too. Package syscall sets it, since that gives children the soft
// limit that this program was started with until it is told another one.
func LimitFiles(n int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	limit.Cur = min(uint64(n), limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	return nil
}

// limitProcesses lowers the limit of a process that runs already. What it forked before that keeps the program's
// own limit.
func limitProcesses(pid, uid, n int) {
	limit := syscall.Rlimit{Cur: uint64(n), Max: uint64(n)}
	As(uid, func() {
		syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), rlimitNPROC, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	})
}

// Main keeps the calling goroutine on the first thread, where As never runs then. Call it from an init function.
func Main() { runtime.LockOSThread() }

// AdoptOrphans makes this program the parent of orphaned descendants, as PID 1 is by nature.
func AdoptOrphans() error {
	const prSetChildSubreaper = 36
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); e != 0 {
		return fmt.Errorf("prctl: %w", e)
	}
	return nil
}
