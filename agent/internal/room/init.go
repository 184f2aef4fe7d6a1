package room

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/berth-go/berth/agent/internal/environ"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

// Sizes of an init.
const (
	// initThreads is how many threads an init makes before the session's first process: later there may be no new one.
	initThreads = 8
	// initStarts is how many starts an init has under way at once, each of which may use a thread.
	initStarts = 4
	// Reserve is how many processes and threads an init has at most, besides those of its session.
	Reserve = 32
)

// Init is the first process of a room, PID 1 of its namespace. It starts the commands that the agent asks for over the control
// socket, with the files that come with them, and reports their ends. It reaps every process of the room. It returns nil when the
// agent has closed the socket; the end of the program then ends the room.
//
// Nothing guards its forks. A session can stop a child of the init before the child executes its program, and so hold up the
// init. That holds up no other session, and the agent, which sees the child, makes it go on: see [Room.Start].
func Init(control *os.File) error {
	syscall.Umask(0o022) // as the agent's
	if err := syscall.Setgroups(nil); err != nil {
		return os.NewSyscallError("setgroups", err)
	}
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(50)
	proc.DefaultSignals()
	proc.Prewarm(initThreads)
	c, err := newConn(control)
	if err != nil {
		return err
	}
	defer c.Close()
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	i := &initial{conn: c, table: proc.NewPlainTable(), starts: make(chan struct{}, initStarts), ended: make(chan error, 1),
		running: make(map[uint64]*proc.Process)}
	go i.table.Run(nil, children) // for as long as the program runs
	go i.listen()
	return <-i.ended
}

// initial is a running init.
type initial struct {
	conn   *conn
	table  *proc.Table
	starts chan struct{}
	ended  chan error // has room for why there are no more orders

	mu      sync.Mutex // protects running
	running map[uint64]*proc.Process
}

// listen takes the next order. It performs a start itself, and meanwhile another goroutine listens: so a start waits for no other
// goroutine.
func (i *initial) listen() {
	for {
		var o order
		files, err := i.conn.read(&o)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			i.ended <- nil
			return
		case err == nil && o.Greet != nil:
			err = i.greet(*o.Greet)
		case err == nil && o.Signal != nil:
			i.signal(*o.Signal)
		case err == nil && o.Start != nil:
			i.starts <- struct{}{}
			go i.listen()
			i.start(o.Start, files)
			return
		}
		closeAll(files)
		if err != nil {
			i.ended <- err
			return
		}
	}
}

// greet makes the init ready.
func (i *initial) greet(s Settings) error {
	if err := errors.Join(proc.LimitProcesses(s.MaxProcesses), proc.LimitFiles(s.MaxFiles)); err != nil {
		return err
	}
	counts, err := os.Open(proc.OOMFile())
	if err != nil {
		return i.conn.write(report{Ready: true})
	}
	defer counts.Close()
	return i.conn.write(report{Ready: true}, int(counts.Fd()))
}

// start starts a command and reports its start and its end.
func (i *initial) start(s *start, files []int) {
	p, err := i.launch(s, files)
	closeAll(files)
	<-i.starts
	if err != nil {
		i.conn.write(report{Seq: s.Seq, Failed: err})
		return
	}
	seq := s.Seq
	s = nil // it may be large
	i.note(seq, p)
	var master []int
	if p.Master > 0 {
		master = []int{p.Master}
	}
	i.conn.write(report{Seq: seq, Started: true, Pid: p.Pid}, master...)
	closeAll(master)
	<-p.Done()
	i.note(seq, nil)
	status := p.Status()
	i.conn.write(report{Seq: seq, Ended: &status})
}

// note notes what runs under a number; nil = nothing any more.
func (i *initial) note(seq uint64, p *proc.Process) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if p == nil {
		delete(i.running, seq)
	} else {
		i.running[seq] = p
	}
}

// signal signals what runs under a number. What has ended meanwhile gets none.
func (i *initial) signal(s signalling) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if p := i.running[s.Seq]; p != nil {
		i.table.Signal(p, s.Number, s.Group)
	}
}

func (i *initial) launch(s *start, files []int) (*proc.Process, *wire.Error) {
	if len(files) != streams || len(s.Args) == 0 {
		return nil, &wire.Error{Code: wire.CodeInternal, Message: "too many open files: the streams of the command did not arrive"}
	}
	spec := proc.Spec{
		Args: s.Args, Env: s.Env, Path: s.Path, Dir: s.Dir, UID: s.UID, Mark: s.Mark, Terminal: s.Terminal,
	}
	for n, fd := range files {
		spec.Files[n] = uintptr(fd)
	}
	p, err := i.table.Start(spec)
	if err != nil {
		return nil, environ.StartError(spec.Args[0], spec.Dir, s.UID, err)
	}
	return p, nil
}
