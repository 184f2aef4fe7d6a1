package proc

import (
	"encoding/binary"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// A child has its uid a moment before it executes its program, and its memory is this program's until then: a thread
// waits for it, and with it, soon, the whole runtime. In that moment a task of its uid may stop it. So another process,
// which nothing of this one can hold up, is told of each fork, and sees to it that it comes to its end.

// Times of a fork that is held up.
const (
	heldUp  = 50 * time.Millisecond  // from when on its child is told to go on
	tooLong = 500 * time.Millisecond // from when on it is killed, which looks as if the program had been
)

// guard is this program's side of it. The zero value is none.
type guard struct {
	mu    sync.Mutex // one fork at a time, as package syscall has it; protects what follows
	args  []string   // of the guarding process; nil = there is none
	notes int        // the pipe to it
}

// Guard starts the process that guards forks from now on: a program that calls GuardForks.
func (t *Table) Guard(args ...string) error {
	t.guard.mu.Lock()
	defer t.guard.mu.Unlock()
	t.guard.args, t.guard.notes = args, -1
	return t.guard.start()
}

func (g *guard) start() error {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	_, err := syscall.ForkExec(g.args[0], g.args, &syscall.ProcAttr{Dir: "/", Files: []uintptr{uintptr(fds[0]), 2, 2}})
	syscall.Close(fds[0])
	if err != nil {
		syscall.Close(fds[1])
		return &os.PathError{Op: "exec", Path: g.args[0], Err: err}
	}
	syscall.SetNonblock(fds[1], true) // one that does not read is as good as none
	if g.notes >= 0 {
		syscall.Close(g.notes)
	}
	g.notes = fds[1]
	return nil
}

// fork forks under guard. The child carries the mark, and is the first that does.
func (g *guard) fork(mark int, fork func() (int, error)) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.args != nil && g.note(mark) == syscall.EPIPE { // it has ended
		if err := g.start(); err != nil {
			return 0, err
		}
		g.note(mark)
	}
	pid, err := fork()
	if g.args != nil {
		g.note(0)
	}
	return pid, err
}

func (g *guard) note(mark int) error {
	_, err := syscall.Write(g.notes, binary.LittleEndian.AppendUint64(nil, uint64(mark)))
	return err
}

// GuardForks is the guarding process: it reads of forks, and of their ends, until the program that forks has ended.
func GuardForks(notes io.Reader) {
	Prewarm(4)
	marks := make(chan int)
	go func() {
		defer close(marks)
		for note := make([]byte, 8); ; {
			if _, err := io.ReadFull(notes, note); err != nil {
				return
			}
			marks <- int(binary.LittleEndian.Uint64(note))
		}
	}()
	mark, more := 0, true
	for began := time.Now(); more; {
		var look <-chan time.Time
		if mark != 0 {
			look = time.After(heldUp)
		}
		select {
		case mark, more = <-marks:
			began = time.Now()
		case <-look:
			signal := syscall.SIGCONT // it may have been stopped with others of its uid, by Kill
			if time.Since(began) > tooLong {
				signal = syscall.SIGKILL
			}
			for _, pid := range carriers(mark).stopped {
				signalMarked(pid, mark, signal)
			}
		}
	}
}
