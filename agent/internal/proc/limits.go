package proc

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

// Prewarm creates n threads, which the Go runtime then keeps. The creation of a thread while tasks have used up the container's
// processes would end this program, and with it the container.
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

// UsualProcesses is the default for the number of processes and threads of a uid.
const UsualProcesses = 1024

// LimitProcesses sets RLIMIT_NPROC of this program and of the processes that it starts. The limit does not hold for root, except
// for the root of a user namespace, which rootless engines use. There the kernel counts the engine's processes and those of all
// containers together, so the limit is not lowered much.
func LimitProcesses(n int) error {
	const rlimitNPROC = 6
	if inUserNamespace() {
		n = max(n, UsualProcesses)
	}
	limit := syscall.Rlimit{Cur: uint64(n), Max: uint64(n)}
	_, _, e := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, rlimitNPROC, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if e != 0 {
		return fmt.Errorf("prlimit: %w", e)
	}
	return nil
}

// inUserNamespace reports whether root here is another user outside.
func inUserNamespace() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && !slices.Equal(strings.Fields(string(ids)), []string{"0", "0", "4294967295"})
}

// LimitFiles sets the number of open files of this program and of each process that it starts: n, or the hard limit if that is
// lower. The hard limit stays. LimitFiles uses package syscall, which otherwise gives children the soft limit that this
// program was started with.
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

// LimitCores sets RLIMIT_CORE of this program and of each process that it starts, for good: a crash writes no core file, which would
// hold the secrets of its process. The limit is one byte and not 0, unless the hard limit is lower. One byte is less than any core
// file. It is also the limit at which the kernel starts no program of core_pattern; such a program runs on the host, and the kernel
// heeds no other limit for it.
func LimitCores() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	limit.Max = min(1, limit.Max)
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	return nil
}

// AdoptOrphans makes this program the parent of its orphaned descendants, as PID 1 always is.
func AdoptOrphans() error {
	const prSetChildSubreaper = 36
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); e != 0 {
		return fmt.Errorf("prctl: %w", e)
	}
	return nil
}

// DefaultSignals lets the programs that this one starts have the default action of every signal. They would ignore those that this one was
// started with ignored, as nohup does with SIGHUP, which then ended no program whose terminal is closed.
func DefaultSignals() {
	var ignored []os.Signal
	for n := syscall.Signal(1); n <= lastSignal; n++ {
		if signal.Ignored(n) {
			ignored = append(ignored, n)
		}
	}
	if len(ignored) > 0 {
		signal.Notify(make(chan os.Signal, 1), ignored...) // a program inherits no handler
	}
}

const lastSignal = 64
