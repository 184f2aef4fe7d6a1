package daemon

import (
	"cmp"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// A growing pipe gets larger when much goes through it.
type growing struct {
	*os.File
	grown bool
}

// grow makes the pipe larger once. One goroutine calls it. A user has room for 64 MiB in all pipes of a machine, unless the machine says
// otherwise, so pipes without much data stay small.
func (g *growing) grow() {
	if g.grown {
		return
	}
	g.grown = true
	if raw, err := g.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			const size = 256 << 10
			syscall.RawSyscall(syscall.SYS_FCNTL, fd, fSetPipeSize, size) // a failure does no harm
		})
	}
}

// readMuch reads a pipe like f.Read, into a buffer for much that is known to come. When the pipe is empty, it waits for gather first, so
// that more comes at once. It returns at least one byte or an error.
func readMuch(f *os.File, p []byte) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	for empty := false; n == 0 && err == nil; {
		if empty {
			time.Sleep(gather)
		}
		var failed error
		err = raw.Read(func(fd uintptr) bool {
			got, errno := syscall.Read(int(fd), p)
			switch {
			case errno == syscall.EAGAIN:
				again := empty
				empty = true
				return !again // when it returns false, it is called again when there is something
			case errno == syscall.EINTR:
			case errno != nil:
				failed = os.NewSyscallError("read", errno)
			case got == 0:
				failed = io.EOF
			default:
				n = got
			}
			return true
		})
		err = cmp.Or(failed, err)
	}
	return n, err
}

// writev writes buffers to a pipe. Package net does so for sockets alone. A buffer by itself would be one more message for the engine,
// which passes on what it reads at once.
//
// When the pipe is full, writev waits for gather first, and only then for the kernel to say that there is room: the kernel says so for
// every page.
func writev(f *os.File, buffers net.Buffers) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	for full := false; len(buffers) > 0; {
		var failed error
		if full {
			time.Sleep(gather)
		}
		err := raw.Write(func(fd uintptr) bool {
			var vector []syscall.Iovec
			for _, b := range buffers {
				if len(b) > 0 {
					v := syscall.Iovec{Base: &b[0]}
					v.SetLen(len(b))
					vector = append(vector, v)
				}
			}
			if len(vector) == 0 {
				buffers = nil
				return true
			}
			n, _, errno := syscall.Syscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&vector[0])), uintptr(len(vector)))
			switch errno {
			case 0:
				full = false
				buffers = after(buffers, int(n))
			case syscall.EAGAIN:
				again := full
				full = true
				return !again // when it returns false, it is called again when there is room
			case syscall.EINTR:
			default:
				failed = os.NewSyscallError("writev", errno)
			}
			return true
		})
		if err != nil || failed != nil {
			return cmp.Or(failed, err)
		}
	}
	return nil
}

// after returns what is left behind the first n bytes.
func after(buffers net.Buffers, n int) net.Buffers {
	for len(buffers) > 0 && n >= len(buffers[0]) {
		n -= len(buffers[0])
		buffers = buffers[1:]
	}
	if n > 0 {
		buffers[0] = buffers[0][n:]
	}
	return buffers
}
