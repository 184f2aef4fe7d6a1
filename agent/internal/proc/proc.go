// Package proc starts processes and ends them: under a uid, with every descendant accounted for.
//
// A process that calls setsid and forks twice is out of reach of process groups and of its parent. What it can never
// shed is a supplementary group, for that takes CAP_SETGID. So each process that a Table starts gets a group number
// of its own, its mark, which all its descendants inherit and /proc shows. The mark grants nothing: no file and no
// passwd entry knows it.
package proc

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Table is the processes that this program started. It reaps every child, also the orphans that the kernel hands
// to PID 1, so there must be one Table only and nobody else may wait for children.
type Table struct {
	marks marks
	guard guard

	mu       sync.Mutex // protects what follows
	seq      uint64
	starting int                    // Starts that have forked, perhaps, and not registered
	running  map[int]*Process       // by pid
	early    map[int]unclaimedChild // reaped while a Start was under way: perhaps its child
}

// unclaimedChild is the status of a child that no Process was registered for.
type unclaimedChild struct {
	seq    uint64 // when it was reaped
	status syscall.WaitStatus
}

// NewTable makes a Table. Run collects its children.
func NewTable() *Table {
	return &Table{
		marks:   newMarks(),
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
	// Files become the process's descriptors 0, 1 and 2.
	Files [3]uintptr
}

// A Process is one that was started.
type Process struct {
	Pid  int
	Mark int // the group number that it and its descendants carry

	done   chan struct{} // closed when it was reaped
	status syscall.WaitStatus
}

// Done is closed when the process has ended. Its descendants may live on.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit returns the exit code, or -1 and the signal that ended it. Only after Done.
func (p *Process) Exit() (code, signal int) {
	if p.status.Signaled() {
		return -1, int(p.status.Signal())
	}
	return p.status.ExitStatus(), 0
}

// Start starts a process in a session of its own, with the umask of this program and no capabilities unless UID is
// 0. Full process tables are waited out for a moment.
func (t *Table) Start(s Spec) (*Process, error) {
	mark, err := t.marks.next()
	if err != nil {
		return nil, err
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
	for pause := 2 * time.Millisecond; ; pause *= 2 {
		p, err := t.startOne(candidates, s.Args, attr, mark)
		if err == nil {
			discourageOOM(p.Pid)
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
	for _, path := range candidates {
		begun := t.begin()
		pid, err := t.guard.fork(mark, func() (int, error) { return syscall.ForkExec(path, args, attr) })
		p := t.register(begun, pid, mark, err == nil)
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

// begin notes that a fork is about to happen; the child may be reaped before its pid is known here.
func (t *Table) begin() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.starting++
	t.seq++
	return t.seq
}

// register ends what begin began. A child that was reaped since then is done already.
func (t *Table) register(begun uint64, pid, mark int, started bool) *Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	var p *Process
	if started {
		p = &Process{Pid: pid, Mark: mark, done: make(chan struct{})}
		if e, ok := t.early[pid]; ok && e.seq > begun {
			p.status = e.status
			close(p.done)
		} else {
			t.running[pid] = p
		}
	}
	if t.starting--; t.starting == 0 {
		clear(t.early)
	}
	return p
}

// Run reaps until stop is closed. wake tells that a child may have ended (SIGCHLD); a tick makes up for a lost one.
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
				p.status = status
				close(p.done)
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

// checkDir turns a missing directory into an error of its own: from fork and exec it would look as if the program
// were missing.
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

// discourageOOM makes a process a better victim than this program when memory runs out. Best effort.
func discourageOOM(pid int) {
	fd, err := syscall.Open(fmt.Sprintf("/proc/%d/oom_score_adj", pid), syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	syscall.Write(fd, []byte("500"))
	syscall.Close(fd)
}
