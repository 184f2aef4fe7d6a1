package place

import (
	"syscall"
	"unsafe"
)

// The system calls that name a file by its directory's descriptor.

const (
	atFDCWD           = -100
	atSymlinkNoFollow = 0x100
	atRemoveDir       = 0x200
)

// openTop opens a directory by its path.
func openTop(path string) (int, error) { return openDir(atFDCWD, path, 0) }

// openBelow opens a directory in another one, unless it is a link.
func openBelow(fd int, name string) (int, error) { return openDir(fd, name, syscall.O_NOFOLLOW) }

func openDir(fd int, name string, flags int) (int, error) {
	for {
		child, err := syscall.Openat(fd, name, flags|syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
		if err != syscall.EINTR {
			return child, err
		}
	}
}

func fstatat(fd int, name string, st *syscall.Stat_t) error {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, e := syscall.Syscall6(sysFstatat, uintptr(fd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(st)), atSymlinkNoFollow, 0, 0)
	return failure(e)
}

func unlinkat(fd int, name string, dir bool) error {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	var flags uintptr
	if dir {
		flags = atRemoveDir
	}
	_, _, e := syscall.Syscall(syscall.SYS_UNLINKAT, uintptr(fd), uintptr(unsafe.Pointer(p)), flags)
	return failure(e)
}

func renameat(fd int, name string, to int, newName string) error {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	q, err := syscall.BytePtrFromString(newName)
	if err != nil {
		return err
	}
	_, _, e := syscall.Syscall6(syscall.SYS_RENAMEAT, uintptr(fd), uintptr(unsafe.Pointer(p)), uintptr(to), uintptr(unsafe.Pointer(q)), 0, 0)
	return failure(e)
}

func failure(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}
