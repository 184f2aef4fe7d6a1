package warden

import (
	"syscall"
	"time"
	"unsafe"
)

// ended reports whether the process of a pidfd has ended.
func ended(pidfd int) bool { return awaitEnd(pidfd, 0) }

// awaitEnd waits until the process of a pidfd has ended, and reports whether it has.
func awaitEnd(pidfd int, timeout time.Duration) bool {
	const readable = 1
	poll := struct {
		fd              int32
		events, revents int16
	}{fd: int32(pidfd), events: readable}
	for deadline := time.Now().Add(timeout); ; {
		left := syscall.NsecToTimespec(max(0, time.Until(deadline).Nanoseconds()))
		n, _, e := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&left)), 0, 0, 0)
		if e == syscall.EINTR {
			continue
		}
		return e == 0 && n > 0
	}
}
