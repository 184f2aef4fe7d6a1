package layer

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// The calls of the kernel that package syscall has no function for.

const atSymlinkNoFollow = 0x100

func failed(e syscall.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

// symlinkat makes a symbolic link in a directory.
func symlinkat(target string, dir int, name string) error {
	t, err := syscall.BytePtrFromString(target)
	if err != nil {
		return err
	}
	n, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, e := syscall.Syscall(syscall.SYS_SYMLINKAT, uintptr(unsafe.Pointer(t)), uintptr(dir), uintptr(unsafe.Pointer(n)))
	return failed(e)
}

// linkat makes another link to a file. It follows no symbolic link at the end of old.
func linkat(from int, old string, dir int, name string) error {
	o, err := syscall.BytePtrFromString(old)
	if err != nil {
		return err
	}
	n, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, e := syscall.Syscall6(syscall.SYS_LINKAT, uintptr(from), uintptr(unsafe.Pointer(o)), uintptr(dir), uintptr(unsafe.Pointer(n)), 0, 0)
	return failed(e)
}

// setTimes sets the time of access and of modification: of what is open if name is "", and otherwise of the file in a directory, also if that is
// a symbolic link.
func setTimes(fd int, name string, at time.Time) error {
	ts := [2]syscall.Timespec{}
	for i := range ts {
		ts[i].Sec, ts[i].Nsec = at.Unix(), int64(at.Nanosecond())
	}
	var n *byte
	flags := 0
	if name != "" {
		var err error
		if n, err = syscall.BytePtrFromString(name); err != nil {
			return err
		}
		flags = atSymlinkNoFollow
	}
	_, _, e := syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(fd), uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(&ts)), uintptr(flags), 0, 0)
	return failed(e)
}

// lchownat changes the owner of a symbolic link in a directory.
func lchownat(dir int, name string, uid, gid int) error {
	return syscall.Fchownat(dir, name, uid, gid, atSymlinkNoFollow)
}

func setXattr(fd int, name, value string) error {
	n, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	v := append([]byte(value), 0) // so that it has an address
	_, _, e := syscall.Syscall6(syscall.SYS_FSETXATTR, uintptr(fd), uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(&v[0])), uintptr(len(value)), 0, 0)
	return failed(e)
}

// maxXattr is Linux's limit for the list of a file's attributes, and for the value of one.
const maxXattr = 64 << 10

// xattrs reads the attributes of an open file that a layer has an interest in. buf has maxXattr bytes.
func xattrs(fd int, buf []byte) (map[string]string, error) {
	n, _, e := syscall.Syscall(syscall.SYS_FLISTXATTR, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	switch {
	case e == syscall.ENOTSUP, e == 0 && n == 0:
		return nil, nil
	case e != 0:
		return nil, fmt.Errorf("list the attributes: %w", e)
	}
	var found map[string]string
	for name := range bytes.SplitSeq(bytes.Clone(buf[:n]), []byte{0}) {
		wanted := strings.HasPrefix(string(name), userXattr) ||
			slices.ContainsFunc(overlayXattrs, func(own string) bool { return strings.HasPrefix(string(name), own) })
		if !wanted {
			continue
		}
		p, err := syscall.BytePtrFromString(string(name))
		if err != nil {
			return nil, err
		}
		n, _, e := syscall.Syscall6(syscall.SYS_FGETXATTR, uintptr(fd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
		if e == syscall.ENODATA { // removed meanwhile
			continue
		} else if e != 0 {
			return nil, fmt.Errorf("read the attribute %q: %w", name, e)
		}
		if found == nil {
			found = make(map[string]string)
		}
		found[string(name)] = string(buf[:n])
	}
	return found, nil
}
