package warden

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// judge runs a filter as the kernel does, and returns the error of a system call; 0 = it is allowed.
func judge(t *testing.T, f filter, arch, call uint32, args ...uint64) syscall.Errno {
	t.Helper()
	data := make([]byte, 64)
	binary.NativeEndian.PutUint32(data, call)
	binary.NativeEndian.PutUint32(data[4:], arch)
	for i, a := range args {
		binary.NativeEndian.PutUint64(data[16+8*i:], a)
	}
	var register uint32
	for at := 0; at < len(f.Program)/instruction; at++ {
		code := f.Program[at*instruction:]
		op, yes, no, k := binary.NativeEndian.Uint16(code), int(code[2]), int(code[3]), binary.NativeEndian.Uint32(code[4:])
		jump := func(is bool) {
			if at += no; is {
				at += yes - no
			}
		}
		switch op {
		case bpfLoad:
			register = binary.NativeEndian.Uint32(data[k:])
		case bpfAnd:
			register &= k
		case bpfJump:
			at += int(k)
		case bpfEqual:
			jump(register == k)
		case bpfAbove:
			jump(register > k)
		case bpfGive:
			if k == seccompAllow {
				return 0
			}
			return syscall.Errno(k &^ seccompErrno)
		default:
			t.Fatalf("instruction %d is %#x", at, op)
		}
	}
	t.Fatal("the filter has no end")
	return 0
}

// TestNarrow tries the filter of all rooms with the system calls of each architecture.
func TestNarrow(t *testing.T) {
	f := narrow()
	if n := len(f.Program) / instruction; n > 1000 {
		t.Errorf("the filter has %d instructions", n)
	}
	const x86, i386, arm64, arm, x32 = 0xc000003e, 0x40000003, 0xc00000b7, 0x40000028, 0x40000000
	const high = 1 << 32 // the upper half of an argument does not count
	for _, c := range []struct {
		what    string
		calls   map[uint32][]uint32 // by architecture
		allowed [][]uint64          // arguments
		refused [][]uint64
		with    syscall.Errno
	}{
		{
			"socket", map[uint32][]uint32{x86: {41, 53, 41 | x32}, i386: {359, 360}, arm64: {198, 199}, arm: {281, 288}},
			[][]uint64{{1, 1}, {2, 2}, {10, 1, 6}, {16, 3, 0}, {16, 3, 4}, {16, 3, 15}, {16, 3, 16}},
			[][]uint64{{0}, {3}, {17, 3}, {38, 5}, {40, 1}, {44, 3}, {high | 38}}, syscall.EAFNOSUPPORT,
		},
		{
			"netlink", map[uint32][]uint32{x86: {41, 53, 41 | x32}, i386: {359}, arm64: {198}, arm: {281}},
			nil, [][]uint64{{16, 3, 2}, {16, 3, 12}, {16, 3, 6}, {16, 3, high | 2}}, syscall.EPROTONOSUPPORT,
		},
		{"asynchronous I/O", map[uint32][]uint32{x86: {206, 543 | x32, 425}, i386: {245, 425}, arm64: {0, 425}, arm: {243, 425}}, nil, [][]uint64{{1}, {1 << 20}}, syscall.ENOSYS},
		{
			"poll", map[uint32][]uint32{x86: {7, 271}, i386: {168, 309, 414}, arm64: {73}, arm: {168, 336, 414}},
			[][]uint64{{0, 0}, {1 << 40, mostPolled}}, [][]uint64{{1 << 40, mostPolled + 1}, {0, 1<<32 - 1}}, syscall.EINVAL,
		},
		{
			"select", map[uint32][]uint32{x86: {23, 270}, i386: {142, 308, 413}, arm64: {72}, arm: {142, 335, 413}},
			[][]uint64{{0}, {mostPolled}}, [][]uint64{{mostPolled + 1}}, syscall.EINVAL,
		},
		{"prctl", map[uint32][]uint32{x86: {157}, i386: {172}, arm64: {167}, arm: {172}}, [][]uint64{{1}, {38}}, [][]uint64{{62, 1}, {62, 2}}, syscall.EINVAL},
		{"socketcall", map[uint32][]uint32{i386: {102}}, [][]uint64{{2}, {9}, {14}}, [][]uint64{{1}, {8}}, syscall.ENOSYS},
		{"the first select", map[uint32][]uint32{i386: {82}}, nil, [][]uint64{{1 << 30}}, syscall.ENOSYS},
		{"others", map[uint32][]uint32{x86: {1, 102, 82, 59}, i386: {4, 7, 41}, arm64: {102, 82, 64}, arm: {4, 102, 82}, 0xdead: {41}}, [][]uint64{{38}, {62}}, nil, 0},
	} {
		for arch, numbers := range c.calls {
			for _, n := range numbers {
				for _, args := range c.allowed {
					if e := judge(t, f, arch, n, args...); e != 0 {
						t.Errorf("%s: %#x %d %x: %v", c.what, arch, n, args, e)
					}
				}
				for _, args := range c.refused {
					if e := judge(t, f, arch, n, args...); e != c.with {
						t.Errorf("%s: %#x %d %x: %v, want %v", c.what, arch, n, args, e, c.with)
					}
				}
			}
		}
	}
}

// TestTheKernelNarrows has a thread with the filter.
func TestTheKernelNarrows(t *testing.T) {
	failed := make(chan []string)
	go func() {
		runtime.LockOSThread() // and never unlocks it: the filter ends with the thread
		var wrong []string
		expect := func(what string, err error, want error) {
			if !errors.Is(err, want) {
				wrong = append(wrong, fmt.Sprintf("%s: %v, want %v", what, err, want))
			}
		}
		socket := func(family, kind, protocol int) (int, error) {
			fd, err := unix.Socket(family, kind, protocol)
			if err == nil {
				unix.Close(fd)
			}
			return fd, err
		}
		f := narrow()
		program := struct {
			length uint16
			code   *byte
		}{uint16(len(f.Program) / instruction), &f.Program[0]}
		_, err := call("prctl", syscall.SYS_PRCTL, 38, 1)
		expect("no_new_privs", err, nil)
		_, err = call("seccomp", sysSeccomp, seccompSetModeFilter, 0, uintptr(unsafe.Pointer(&program)))
		expect("seccomp", err, nil)
		for _, family := range []int{unix.AF_UNIX, unix.AF_INET} {
			_, err = socket(family, unix.SOCK_STREAM, 0)
			expect(fmt.Sprint("family ", family), err, nil)
		}
		for _, protocol := range []int{unix.NETLINK_ROUTE, unix.NETLINK_KOBJECT_UEVENT} {
			_, err = socket(unix.AF_NETLINK, unix.SOCK_RAW, protocol)
			expect(fmt.Sprint("netlink ", protocol), err, nil)
		}
		_, err = socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_USERSOCK)
		expect("netlink between processes", err, syscall.EPROTONOSUPPORT)
		_, err = socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
		expect("AF_ALG", err, syscall.EAFNOSUPPORT)
		var ring uint64
		_, err = call("io_setup", unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&ring)))
		expect("io_setup", err, syscall.ENOSYS)
		_, err = call("io_uring_setup", unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&[120]byte{})))
		expect("io_uring_setup", err, syscall.ENOSYS)
		files := make([]unix.PollFd, mostPolled+1)
		for i := range files {
			files[i].Fd = -1
		}
		_, err = unix.Poll(files, 0)
		expect("poll of many", err, syscall.EINVAL)
		_, err = unix.Poll(files[1:], 0)
		expect("poll of fewer", err, nil)
		failed <- wrong
	}()
	for _, what := range <-failed {
		t.Error(what)
	}
}
