package warden

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

// A filter is a seccomp filter.
type filter struct {
	Program []byte // instructions of 8 bytes
	Log     bool   // what it refuses is logged
}

const instruction = 8 // bytes

// Requests of ptrace, and what comes with them.
const (
	ptraceDetach             = 17
	ptraceSeize              = 0x4206
	ptraceInterrupt          = 0x4207
	ptraceSeccompGetFilter   = 0x420c
	ptraceSeccompGetMetadata = 0x420d

	ptraceEventStop = 128
	waitAll         = 0x40000000 // __WALL
)

// readFilters copies the seccomp filters of a process. Linux gives them out to a tracer that has CAP_SYS_ADMIN and no filter
// itself, if it was built with CONFIG_CHECKPOINT_RESTORE. The process stands still meanwhile.
func readFilters(pid int) (filters []filter, err error) {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	trace := func(request, addr, data uintptr) (uintptr, error) {
		return call("ptrace", syscall.SYS_PTRACE, request, uintptr(pid), addr, data)
	}
	if _, err := trace(ptraceSeize, 0, 0); err != nil {
		return nil, err
	}
	if _, err := trace(ptraceInterrupt, 0, 0); err != nil {
		return nil, err
	}
	var stop syscall.WaitStatus
	for {
		if _, err = syscall.Wait4(pid, &stop, waitAll, nil); err != syscall.EINTR {
			break
		}
	}
	if err != nil || !stop.Stopped() {
		return nil, fmt.Errorf("the process did not stop: %v", errors.Join(err))
	}
	var pending uintptr // a signal that the stop has intercepted
	if stop>>16 != ptraceEventStop {
		pending = uintptr(stop.StopSignal())
	}
	defer trace(ptraceDetach, 0, pending)

	for i := uintptr(0); ; i++ { // the latest has index 0
		n, err := trace(ptraceSeccompGetFilter, i, 0)
		if errors.Is(err, syscall.ENOENT) {
			return filters, nil
		}
		if err != nil || n == 0 {
			return nil, fmt.Errorf("filter %d: %w", i, err)
		}
		f := filter{Program: make([]byte, n*instruction)}
		if _, err := trace(ptraceSeccompGetFilter, i, uintptr(unsafe.Pointer(&f.Program[0]))); err != nil {
			return nil, err
		}
		metadata := struct{ index, flags uint64 }{index: uint64(i)}
		if _, err := trace(ptraceSeccompGetMetadata, unsafe.Sizeof(metadata), uintptr(unsafe.Pointer(&metadata))); err != nil {
			return nil, err
		}
		f.Log = metadata.flags&seccompLog != 0
		filters = append([]filter{f}, filters...)
	}
}

const (
	seccompSetModeFilter = 1
	seccompLog           = 2
	seccompSpecAllow     = 4
)

// step installs the filter in the process of a script.
func (f filter) step(s *script, specAllow bool) error {
	if len(f.Program) == 0 || len(f.Program)%instruction != 0 {
		return errors.New("a seccomp filter is damaged")
	}
	program := &struct {
		length uint16
		code   *byte
	}{uint16(len(f.Program) / instruction), &f.Program[0]}
	var flags uintptr
	if f.Log {
		flags |= seccompLog
	}
	if specAllow {
		flags |= seccompSpecAllow
	}
	s.keep = append(s.keep, program)
	s.add("installing a seccomp filter", sysSeccomp, seccompSetModeFilter, flags, uintptr(unsafe.Pointer(program)))
	return nil
}
