package warden

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// A script is a list of system calls for a new process. Some things only the first process of a room can do, before it becomes the
// init: mount a /proc that shows the room, and then give up rights. A program of its own for them would cost another start of
// the Go runtime, which is more than all other work for a room.
type script struct {
	steps []step
	keep  []any // what the steps point to
}

// A step is a system call. It ends the process if it fails.
type step struct {
	name string
	n    uintptr
	args [6]uintptr
}

func (s *script) add(name string, n uintptr, args ...uintptr) {
	st := step{name: name, n: n}
	copy(st.args[:], args)
	s.steps = append(s.steps, st)
}

// text returns a pointer to a string for a step.
func (s *script) text(value string) uintptr {
	p := cstring(value)
	s.keep = append(s.keep, p)
	return uintptr(unsafe.Pointer(p))
}

// exec is the last step: it executes the init. Its environment is a search path alone.
func (s *script) exec(args []string) error {
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil || len(args) == 0 {
		return fmt.Errorf("bad command of the init: %w", err)
	}
	envv, err := syscall.SlicePtrFromStrings([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
	if err != nil {
		return err
	}
	s.keep = append(s.keep, argv, envv)
	s.add("executing "+args[0], syscall.SYS_EXECVE, uintptr(unsafe.Pointer(argv[0])), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envv[0])))
	return nil
}

// cloneArgs are the arguments of clone3.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// run starts a process that performs the steps, and returns when the last, which executes a program, has succeeded. The process
// starts in a cgroup unless into is negative.
func (s *script) run(into int) (pid, pidfd int, err error) {
	const clonePidfd, cloneIntoCgroup = 0x1000, 0x200000000
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_CLOEXEC); err != nil {
		return 0, 0, os.NewSyscallError("pipe2", err)
	}
	defer syscall.Close(pipe[0])
	fd := new(int32)
	args := &cloneArgs{flags: clonePidfd, pidfd: uint64(uintptr(unsafe.Pointer(fd))), exitSignal: uint64(syscall.SIGCHLD)}
	if into >= 0 {
		args.flags |= cloneIntoCgroup
		args.cgroup = uint64(into)
	}
	pid, e := fork(args, s.steps, pipe[1])
	runtime.KeepAlive(s.keep)
	runtime.KeepAlive(fd)
	syscall.Close(pipe[1])
	if e != 0 {
		return 0, 0, os.NewSyscallError("clone3", e)
	}
	var report [8]byte
	n, err := syscall.Read(pipe[0], report[:])
	for errors.Is(err, syscall.EINTR) {
		n, err = syscall.Read(pipe[0], report[:])
	}
	switch {
	case err == nil && n == 0: // the program runs: to execute it has closed the pipe
		return pid, int(*fd), nil
	case n == len(report):
		at, failed := binary.NativeEndian.Uint32(report[:]), syscall.Errno(binary.NativeEndian.Uint32(report[4:]))
		err = fmt.Errorf("%s: %w", s.steps[at].name, failed)
	}
	pidfdKill(int(*fd))
	syscall.Close(int(*fd))
	return 0, 0, err
}

// fork starts a process that performs steps, and reports to a pipe which one failed. The process has a copy of this program's memory
// and one thread. It makes raw system calls only, so that the state of the runtime does not matter to it. Signals are
// blocked until its last step, because the runtime's handlers must not run in it.
//
//go:norace
//go:nosplit
func fork(args *cloneArgs, steps []step, pipe int) (pid int, e syscall.Errno) {
	const setMask = 2
	var all, old, report uint64
	all = ^uint64(0)
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	r, _, e := syscall.RawSyscall(sysClone3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0)
	if e != 0 || r != 0 {
		syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
		return int(r), e
	}
	for i := range steps {
		s := &steps[i]
		if i == len(steps)-1 {
			syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
		}
		if _, _, e := syscall.RawSyscall6(s.n, s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5]); e != 0 {
			*(*[2]uint32)(unsafe.Pointer(&report)) = [2]uint32{uint32(i), uint32(e)}
			break
		}
	}
	syscall.RawSyscall(syscall.SYS_WRITE, uintptr(pipe), uintptr(unsafe.Pointer(&report)), 8)
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
	}
}
