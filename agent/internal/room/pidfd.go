package room

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Package syscall does not have these; the numbers are the same on all architectures.
const (
	sysPidfdSendSignal = 424
	sysPidfdOpen       = 434
)

// openPidfd returns a handle of a process, which no later process gets.
func openPidfd(pid int) (*os.File, error) {
	fd, _, e := syscall.Syscall(sysPidfdOpen, uintptr(pid), 0, 0)
	if e != 0 {
		return nil, os.NewSyscallError("pidfd_open", e)
	}
	syscall.CloseOnExec(int(fd))
	syscall.SetNonblock(int(fd), true) // so that a goroutine that waits for it takes no thread
	return os.NewFile(fd, "pidfd"), nil
}

// signalPidfd signals a process, unless it has ended.
func signalPidfd(pidfd *os.File, sig syscall.Signal) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var e syscall.Errno
	if err := raw.Control(func(fd uintptr) {
		_, _, e = syscall.Syscall6(sysPidfdSendSignal, fd, uintptr(sig), 0, 0, 0, 0)
	}); err != nil {
		return nil // it was closed, which is done when the process has ended
	}
	if e != 0 && e != syscall.ESRCH {
		return os.NewSyscallError("pidfd_send_signal", e)
	}
	return nil
}

// awaitPidfd returns when a process has ended. The first process of a PID namespace ends after all others of it.
func awaitPidfd(pidfd *os.File) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(readable)
}

// readable reports whether a descriptor is readable now, which a process's is when it has ended.
func readable(fd uintptr) bool {
	const in = 1
	poll := struct {
		fd             int32
		events, result int16
	}{fd: int32(fd), events: in}
	var now syscall.Timespec
	for {
		n, _, e := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		if e != syscall.EINTR {
			return e == 0 && n == 1
		}
	}
}

// drainTime is how long the reports of an init may be read after its end. It matters only if another process holds the init's end of
// the control socket.
const drainTime = time.Second
