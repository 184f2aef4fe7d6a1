package proc

import (
	"encoding/binary"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A child gets its uid a moment before it executes its program. Until then it shares this program's memory: a thread waits for
// the child, and soon the whole runtime waits too. In that moment a task of the child's uid may stop it. So another process,
// which this program cannot hold up, is told of each fork and makes the fork end.

// Times of a fork whose child was stopped.
const (
	HeldUp  = 50 * time.Millisecond  // after which the child is told to continue
	TooLong = 500 * time.Millisecond // after which the child is killed, as if its program had been killed
)

// SignalStopped signals every stopped process that carries one of the marks.
func SignalStopped(sig syscall.Signal, marks ...int) {
	stopped := make(map[int]int) // marks by pid
	each(func(p info) {
		for _, mark := range marks {
			if p.stopped && slices.Contains(p.groups, mark) {
				stopped[p.pid] = mark
			}
		}
	})
	for pid, mark := range stopped {
		signalMarked(pid, mark, sig)
	}
}

// guard is this program's side of the guarding process. The zero value has no such process.
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
	syscall.SetNonblock(fds[1], true) // a process that does not read does not guard
	if g.notes >= 0 {
		syscall.Close(g.notes)
	}
	g.notes = fds[1]
	return nil
}

// fork forks under guard. The child is the first process that carries the mark.
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

// GuardForks is the guarding process. It reads the starts and the ends of forks, until the program that forks has ended.
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
			look = time.After(HeldUp)
		}
		select {
		case mark, more = <-marks:
			began = time.Now()
		case <-look:
			signal := syscall.SIGCONT // it may have been stopped with others of its uid, by Kill
			if time.Since(began) > TooLong {
				signal = syscall.SIGKILL
			}
			SignalStopped(signal, mark)
		}
	}
}
