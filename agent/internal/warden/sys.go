package warden

import (
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"
)

// The system calls that package syscall lacks. Their numbers are the same on all architectures.
const (
	sysPidfdSendSignal = 424
	sysOpenTree        = 428
	sysMoveMount       = 429
	sysFsopen          = 430
	sysFsconfig        = 431
	sysFsmount         = 432
	sysPidfdOpen       = 434
	sysClone3          = 435
	sysOpenat2         = 437
	sysMountSetattr    = 442
	sysLandlockCreate  = 444
	sysLandlockEnter   = 446
)

const (
	atFDCWD     = -100
	atEmptyPath = 0x1000
	atRecursive = 0x8000
	oPath       = 0x200000

	cloneNewCgroup = 0x2000000
)

func call(name string, n uintptr, a ...uintptr) (uintptr, error) {
	var args [6]uintptr
	copy(args[:], a)
	for {
		r, _, e := syscall.Syscall6(n, args[0], args[1], args[2], args[3], args[4], args[5])
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return 0, os.NewSyscallError(name, e)
		}
		return r, nil
	}
}

// cstring returns a pointer for a system call. The caller keeps the slice that it points to alive by the pointer itself.
func cstring(s string) *byte {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return &b[0]
}

func at(fd int) uintptr { return uintptr(fd) }

func pidfdOpen(pid int) (int, error) {
	fd, err := call("pidfd_open", sysPidfdOpen, uintptr(pid), 0)
	return int(fd), err
}

func pidfdKill(fd int) error {
	_, err := call("pidfd_send_signal", sysPidfdSendSignal, at(fd), uintptr(syscall.SIGKILL), 0, 0)
	return err
}

func setns(fd, flags int) error {
	_, err := call("setns", sysSetns, at(fd), uintptr(flags))
	return err
}

// memfd returns a file in memory whose content cannot be changed any more.
func memfd(name string, content []byte) (*os.File, error) {
	const cloexec, allowSealing, addSeals, allSeals = 1, 2, 1033, 0xf
	p := cstring(name)
	fd, err := call("memfd_create", sysMemfdCreate, uintptr(unsafe.Pointer(p)), cloexec|allowSealing)
	runtime.KeepAlive(p)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(fd, name)
	if _, err := f.Write(content); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := call("fcntl", syscall.SYS_FCNTL, fd, addSeals, allSeals); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func procPath(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }
