package proc

import (
	"os"
	"syscall"
	"unsafe"
)

// Size is the size of a terminal in characters.
type Size struct{ Rows, Cols uint16 }

// The requests of ioctl, and the device of new terminals, which is that of the room of the program that opens it.
const (
	tcGetAttributes = 0x5401     // TCGETS
	setWindowSize   = 0x5414     // TIOCSWINSZ
	unlockTerminal  = 0x40045431 // TIOCSPTLCK
	openPeer        = 0x5441     // TIOCGPTPEER
	newTerminal     = "/dev/ptmx"
)

// openTerminal makes a terminal that belongs to a uid. side is the end of its user, master the other one. Neither becomes the terminal
// of this program.
func openTerminal(uid int, size Size) (master, side int, err error) {
	if master, err = syscall.Open(newTerminal, syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0); err != nil {
		return -1, -1, &os.PathError{Op: "open", Path: newTerminal, Err: err}
	}
	defer func() {
		if err != nil {
			syscall.Close(master)
		}
	}()
	var locked int32
	if _, err := ioctl(master, unlockTerminal, uintptr(unsafe.Pointer(&locked))); err != nil {
		return -1, -1, err
	}
	if err := SetSize(master, size); err != nil {
		return -1, -1, err
	}
	// The kernel opens the other end of this very terminal. A path to it could lead elsewhere.
	if side, err = ioctl(master, openPeer, syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC); err != nil {
		return -1, -1, err
	}
	if err := syscall.Fchown(side, uid, -1); err != nil { // the group stays that of terminals, for programs like write
		syscall.Close(side)
		return -1, -1, os.NewSyscallError("fchown", err)
	}
	return master, side, nil
}

// SetSize sets the size of a terminal. The kernel tells its foreground processes by SIGWINCH.
func SetSize(master int, size Size) error {
	window := [4]uint16{size.Rows, size.Cols}
	_, err := ioctl(master, setWindowSize, uintptr(unsafe.Pointer(&window)))
	return err
}

// EndOfFile returns the character that a terminal takes for the end of its input. ok is false if its program reads single
// characters, of which none is special.
func EndOfFile(master int) (char byte, ok bool) {
	const canonical, flags, characters, endOfFile = 2, 12, 17, 4 // ICANON, and offsets in struct termios
	var attributes [60]byte
	if _, err := ioctl(master, tcGetAttributes, uintptr(unsafe.Pointer(&attributes))); err != nil {
		return 0, false
	}
	return attributes[characters+endOfFile], attributes[flags]&canonical != 0 // both machines are little-endian
}

func ioctl(fd int, request, argument uintptr) (int, error) {
	n, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, argument)
	if e != 0 {
		return -1, os.NewSyscallError("ioctl", e)
	}
	return int(n), nil
}

// Signal signals a process that this Table has started, or with group its process group. It returns os.ErrProcessDone if the process
// was reaped.
func (t *Table) Signal(p *Process, sig syscall.Signal, group bool) error {
	t.mu.Lock() // while it is held, nothing is reaped, so that the number stays that of the process
	defer t.mu.Unlock()
	if t.running[p.Pid] != p {
		return os.ErrProcessDone
	}
	pid := p.Pid
	if group {
		pid = -pid
	}
	if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
		return os.NewSyscallError("kill", err)
	}
	return nil
}
