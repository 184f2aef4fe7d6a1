package proc

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

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

// UsualProcesses is how many processes and threads a uid may have where nothing else is said.
const UsualProcesses = 1024

// LimitProcesses sets RLIMIT_NPROC of this program: what it starts inherits it. Root itself is exempt, but not that of a
// user namespace, as rootless engines have it: there the kernel counts the engine's own processes and those of all
// containers together, so that the limit is not lowered much.
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

// inUserNamespace reports whether root here is somebody else outside.
func inUserNamespace() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && !slices.Equal(strings.Fields(string(ids)), []string{"0", "0", "4294967295"})
}

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

// AdoptOrphans makes this program the parent of orphaned descendants, as PID 1 is by nature.
func AdoptOrphans() error {
	const prSetChildSubreaper = 36
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); e != 0 {
		return fmt.Errorf("prctl: %w", e)
	}
	return nil
}
