// Package proc starts processes under a uid, and ends them with all their descendants.
//
// A process that calls setsid and forks twice is out of reach of process groups and of its parent. But it cannot drop a
// supplementary group, since that takes CAP_SETGID. So each process that a Table starts gets a group number of its own, its
// mark. All its descendants inherit the mark, and /proc shows it. The mark grants nothing: no file and no passwd entry has it.
package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Table has the processes that this program started. It reaps every child, including the orphans that the kernel hands to
// PID 1. So a program has one Table, and nothing else in it waits for children.
type Table struct {
	marks marks
	guard guard
	kills func() int64 // for the processes

	mu       sync.Mutex // protects what follows
	seq      uint64
	starting int                    // Starts that may have forked and have not registered their process
	running  map[int]*Process       // by pid
	early    map[int]unclaimedChild // children reaped during a Start: one may be its process
}

// unclaimedChild is the status of a child without a registered Process.
type unclaimedChild struct {
	seq    uint64 // when it was reaped
	status syscall.WaitStatus
}

// NewTable makes a Table. Run collects its children.
func NewTable() *Table { return newTable(oomKills) }

// NewPlainTable makes a Table whose processes do not know whether memory was used up: another program looks after that.
func NewPlainTable() *Table { return newTable(func() int64 { return 0 }) }

func newTable(kills func() int64) *Table {
	return &Table{
		marks:   newMarks(),
		kills:   kills,
		running: make(map[int]*Process),
		early:   make(map[int]unclaimedChild),
	}
}

// A Spec says what to start.
type Spec struct {
	Args []string // Args[0] is looked up in Path unless it holds a slash
	Path string   // as in $PATH
	Env  []string // the last of equal keys wins
	Dir  string
	UID  int // and gid
	Mark int // from NextMark; 0 = Start takes the next one
	// Helper says that this program needs the process for itself, and not for one session: when memory runs out, it is to go
	// before the commands of sessions, which have not asked for it.
	Helper bool
	// Files become the process's descriptors 0, 1 and 2.
	Files [3]uintptr
	// Terminal, unless nil, gives it a new terminal of that size in place of Files. It is its controlling terminal.
	Terminal *Size
}

// A Process is a started process.
type Process struct {
	Pid  int // in the PID namespace of the program that started it; 0 = it is not known yet
	Mark int // the group number that it and its descendants carry
	// Master is the other end of its terminal, which its starter closes; 0 = it has none.
	Master int

	kills  func() int64  // counts the processes that the kernel has killed for lack of memory
	before int64         // the count when it was started
	done   chan struct{} // closed when it was reaped; what follows is set before
	status syscall.WaitStatus
	oom    bool
	reason string
}

// NewProcess returns a process that another program is about to start, and whose end its owner reports by End. kills counts the
// processes that the kernel has killed for lack of memory.
func NewProcess(mark int, kills func() int64) *Process {
	return &Process{Mark: mark, kills: kills, before: kills(), done: make(chan struct{})}
}

// Done returns a channel that is closed when the process has ended. Its descendants may live on.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit returns the exit code, or -1 and the signal that ended the process. Call it after Done.
func (p *Process) Exit() (code, signal int) {
	if p.status.Signaled() {
		return -1, int(p.status.Signal())
	}
	return p.status.ExitStatus(), 0
}

// Status returns how the process ended. Call it after Done.
func (p *Process) Status() syscall.WaitStatus { return p.status }

// OutOfMemory reports whether the process has not succeeded, and the kernel killed a process of the container for lack of memory
// while it ran: the process, one that it needed, or one of another session. Call it after Done.
func (p *Process) OutOfMemory() bool { return p.oom }

// Reason returns why the agent has ended the process, for its user; "" if it has not, or on its user's wish. Call it after Done.
func (p *Process) Reason() string { return p.reason }

// EndFor is End for a process that the agent has ended.
func (p *Process) EndFor(status syscall.WaitStatus, reason string) {
	p.reason = reason
	p.End(status)
}

// End records the status of a reaped process, once.
func (p *Process) End(status syscall.WaitStatus) {
	p.status = status
	p.oom = (status.Signaled() || status.ExitStatus() != 0) && p.kills() > p.before
	close(p.done)
}

// NextMark returns a mark that no process carries. A start in another PID namespace takes its mark from the Table of the agent,
// which sees the processes of all.
func (t *Table) NextMark() (int, error) { return t.marks.next() }

// Start starts a process in a session of its own, with the umask of this program, and without capabilities unless UID is 0. If
// the process table is full, it waits for a moment and tries again.
func (t *Table) Start(s Spec) (*Process, error) {
	mark := s.Mark
	if mark == 0 {
		var err error
		if mark, err = t.NextMark(); err != nil {
			return nil, err
		}
	}
	attr := &syscall.ProcAttr{
		Dir:   s.Dir,
		Env:   lastOfEach(s.Env),
		Files: s.Files[:],
		Sys: &syscall.SysProcAttr{
			Setsid:     true,
			Credential: &syscall.Credential{Uid: uint32(s.UID), Gid: uint32(s.UID), Groups: []uint32{uint32(mark)}},
		},
	}
	candidates, err := lookPath(s.Args[0], s.Path)
	if err != nil {
		return nil, err
	}
	if err := checkDir(s.Dir); err != nil {
		return nil, err
	}
	master := 0
	if s.Terminal != nil {
		var side int
		if master, side, err = openTerminal(s.UID, *s.Terminal); err != nil {
			return nil, err
		}
		defer syscall.Close(side)
		attr.Files = []uintptr{uintptr(side), uintptr(side), uintptr(side)}
		attr.Sys.Setctty = true // Ctty 0 is the process's descriptor
	}
	p, err := t.startPatiently(candidates, s.Args, attr, mark)
	if err != nil {
		if master > 0 {
			syscall.Close(master)
		}
		return nil, err
	}
	p.Master = master
	encourageOOM(p.Pid, s.Helper)
	return p, nil
}

// startPatiently tries again for a moment while the process table is full.
func (t *Table) startPatiently(candidates, args []string, attr *syscall.ProcAttr, mark int) (*Process, error) {
	for pause := 2 * time.Millisecond; ; pause *= 2 {
		p, err := t.startOne(candidates, args, attr, mark)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, syscall.EAGAIN) || pause > time.Second {
			return nil, err
		}
		time.Sleep(pause)
	}
}

// startOne tries the candidates in turn, as execvp does.
func (t *Table) startOne(candidates, args []string, attr *syscall.ProcAttr, mark int) (*Process, error) {
	var failed error
	p := NewProcess(mark, t.kills)
	for _, path := range candidates {
		begun := t.begin()
		pid, err := t.guard.fork(mark, func() (int, error) { return syscall.ForkExec(path, args, attr) })
		p.Pid = pid
		t.register(begun, p, err == nil)
		if err == nil {
			return p, nil
		}
		err = &os.PathError{Op: "exec", Path: path, Err: err}
		if failed == nil || !errors.Is(err, syscall.ENOENT) {
			failed = err
		}
		if !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.ENOENT) {
			break
		}
	}
	return nil, failed
}

// begin records that a fork is about to happen. The child may be reaped before its pid is known here.
func (t *Table) begin() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.starting++
	t.seq++
	return t.seq
}

// register ends what begin began. A child that was reaped since then is done already.
func (t *Table) register(begun uint64, p *Process, started bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if started {
		if e, ok := t.early[p.Pid]; ok && e.seq > begun {
			p.End(e.status)
		} else {
			t.running[p.Pid] = p
		}
	}
	if t.starting--; t.starting == 0 {
		clear(t.early)
	}
}

// Run reaps until stop is closed. A value of wake (SIGCHLD) says that a child may have ended. A tick makes up for a lost signal.
func (t *Table) Run(stop <-chan struct{}, wake <-chan os.Signal) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		t.reap()
		select {
		case <-stop:
			return
		case <-wake:
		case <-tick.C:
		}
	}
}

// reap collects every child that has ended.
func (t *Table) reap() {
	for {
		t.mu.Lock()
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil) // does not block, so the lock may be held
		if err == nil && pid > 0 {
			t.seq++
			if p := t.running[pid]; p != nil {
				delete(t.running, pid)
				p.End(status)
			} else if t.starting > 0 {
				t.early[pid] = unclaimedChild{seq: t.seq, status: status}
			}
		}
		t.mu.Unlock()
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}

// checkDir returns an error of its own for a missing directory. The error of fork and exec would look as if the program were
// missing.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return &os.PathError{Op: "chdir", Path: dir, Err: errors.Unwrap(err)}
	}
	if !info.IsDir() {
		return &os.PathError{Op: "chdir", Path: dir, Err: syscall.ENOTDIR}
	}
	return nil
}

// When memory runs out, the kernel kills the process with the most memory, to which it adds thousandths of the whole by these
// numbers. This program has the container's own number, which is 0 unless the engine was told otherwise.
const (
	oomCommand = "500"
	oomHelper  = "700"
)

// encourageOOM makes a process, and all that it starts, a better victim than this program when memory runs out. Best effort:
// without CAP_SYS_RESOURCE a process may take its own number back to this program's.
func encourageOOM(pid int, helper bool) {
	adjust := oomCommand
	if helper {
		adjust = oomHelper
	}
	adjustOOM(pid, adjust, 8)
}

// adjustOOM sets the number of a process and of the children that it has by then, which may not have inherited it. Later ones do.
func adjustOOM(pid int, adjust string, levels int) {
	fd, err := syscall.Open(fmt.Sprintf("/proc/%d/oom_score_adj", pid), syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	syscall.Write(fd, []byte(adjust))
	syscall.Close(fd)
	if levels == 0 {
		return
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for child := range strings.FieldsSeq(string(children)) {
		if n, err := strconv.Atoi(child); err == nil {
			adjustOOM(n, adjust, levels-1)
		}
	}
}
