package proc

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/berth-go/berth/internal/test/need"
)

func init() { Main() }

// act runs fn as a uid and returns the thread that did it.
func act(t *testing.T, uid int, fn func()) (thread string) {
	t.Helper()
	need.Root(t)
	if err := As(uid, func() {
		id, _, _ := syscall.RawSyscall(syscall.SYS_GETTID, 0, 0, 0)
		thread = fmt.Sprintf("/proc/self/task/%d", id)
		fn()
	}); err != nil {
		t.Fatal(err)
	}
	return thread
}

// TestOnlyTheEffectiveUIDIsAnothers: by the real and the saved one a session could reach the thread.
func TestOnlyTheEffectiveUIDIsAnothers(t *testing.T) {
	var ids [3]uint32
	act(t, 10001, func() {
		syscall.RawSyscall(syscall.SYS_GETRESUID, uintptr(unsafe.Pointer(&ids[0])), uintptr(unsafe.Pointer(&ids[1])), uintptr(unsafe.Pointer(&ids[2])))
	})
	if ids != [3]uint32{Unused, 10001, 0} {
		t.Errorf("the real, effective and saved uid are %v", ids)
	}
}

// TestAThreadComesBackAsItWas, or not at all.
func TestAThreadComesBackAsItWas(t *testing.T) {
	Prewarm(4)
	threads := func() int {
		list, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := threads()
	for range 200 {
		act(t, 10001, func() {})
	}
	if after := threads(); after > before+2 { // the runtime may have wanted one
		t.Errorf("there were %d threads and are %d", before, after)
	}
	for what, lower := range map[string]func(){
		"nice":     func() { syscall.RawSyscall(syscall.SYS_SETPRIORITY, 0, 0, 19) },
		"policy":   func() { setPolicy(5) }, // SCHED_IDLE
		"affinity": setFirstCPU,
	} {
		if what == "affinity" && standingNow().cpus[0] == 1 {
			continue // there is no other
		}
		lowered := act(t, 10001, lower)
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(lowered); err != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("a thread whose %s was changed is still there", what)
				break
			}
		}
	}
}

func setPolicy(policy uintptr) {
	var priority int32
	syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, 0, policy, uintptr(unsafe.Pointer(&priority)))
}

func setFirstCPU() {
	mask := [128]byte{1}
	syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, uintptr(len(mask)), uintptr(unsafe.Pointer(&mask)))
}
