package room

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

// A Room is a room that is open, as its agent sees it.
type Room struct {
	conn  *conn
	pid   int           // of the init, in this program's PID namespace
	pidfd *os.File      // of it
	ready chan struct{} // closed when the init takes orders; kills is set before
	kills *os.File      // counts the room's processes that the kernel has killed for lack of memory; nil = it cannot be known
	gone  chan struct{} // closed when the init has ended, and with it every process of the room
	done  chan struct{} // closed when the ends of all commands are known, too

	mu      sync.Mutex // protects what follows
	seq     uint64
	pending map[uint64]*pendingStart
	running map[uint64]*proc.Process
	over    bool   // it takes no start
	reason  string // why the agent has killed it; "" = no reason to tell
}

// pendingStart is a start that the init has not answered.
type pendingStart struct {
	process  *proc.Process
	uid      int
	since    time.Time
	terminal bool       // it has one
	answered chan error // has room for the answer
	given    bool       // its caller has given up
}

// errEnded says that the init ended before it answered.
var errEnded = errors.New("the session's room has ended")

// New takes over the control socket of an init that was just started. pid is the init in this program's PID namespace.
func New(control *os.File, pid int, s Settings) (*Room, error) {
	c, err := newConn(control)
	if err != nil {
		return nil, err
	}
	c.patience = startTime
	pidfd, err := openPidfd(pid)
	if err != nil {
		c.Close()
		return nil, err
	}
	r := &Room{
		conn: c, pid: pid, pidfd: pidfd,
		ready: make(chan struct{}), gone: make(chan struct{}), done: make(chan struct{}),
		pending: make(map[uint64]*pendingStart), running: make(map[uint64]*proc.Process),
	}
	go r.watch()
	go r.listen()
	if err := c.write(order{Greet: &s}); err != nil {
		signalPidfd(pidfd, syscall.SIGKILL)
		<-r.done
		return nil, errors.Join(errEnded, err)
	}
	return r, nil
}

// Ready waits until the init takes orders. Then it is known that it was alive after New had got hold of it.
func (r *Room) Ready(ctx context.Context) error {
	select {
	case <-r.ready:
		return nil
	case <-r.done:
		return errEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Done returns a channel that is closed when the room has ended: no process of it is left.
func (r *Room) Done() <-chan struct{} { return r.done }

// Kill ends every process of the room, and returns when none is left. No process can escape: the kernel kills a namespace with its
// first process.
func (r *Room) Kill(ctx context.Context) error { return r.killFor(ctx, "") }

// killFor is Kill, with a reason for the commands that it ends.
func (r *Room) killFor(ctx context.Context, reason string) error {
	r.mu.Lock()
	if !r.over {
		r.reason = reason
	}
	r.over = true
	r.mu.Unlock()
	if err := signalPidfd(r.pidfd, syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watch waits for the init's end.
func (r *Room) watch() {
	awaitPidfd(r.pidfd)
	close(r.gone)
	r.conn.SetReadDeadline(time.Now().Add(drainTime))
}

// listen takes the init's reports until there are no more. An init without an agent has no use: it is killed then.
func (r *Room) listen() {
	for {
		var m report
		files, err := r.conn.read(&m)
		if err != nil {
			break
		}
		if m.Ready && r.kills == nil && len(files) == 1 {
			r.kills, files = os.NewFile(uintptr(files[0]), "memory"), nil
		}
		if r.heed(m, files) {
			files = nil
		}
		closeAll(files)
	}
	signalPidfd(r.pidfd, syscall.SIGKILL)
	<-r.gone
	r.end()
}

// heed takes one report. It reports whether it has taken the files, too.
func (r *Room) heed(m report, files []int) (taken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch start, p := r.pending[m.Seq], r.running[m.Seq]; {
	case m.Ready:
		select {
		case <-r.ready:
		default:
			close(r.ready)
		}
	case start != nil && m.Started:
		delete(r.pending, m.Seq)
		r.running[m.Seq] = start.process
		start.process.Pid = m.Pid
		if start.terminal && len(files) == 1 {
			start.process.Master, taken = files[0], true
		}
		if start.given {
			go killLate(start)
		}
		start.answered <- nil
	case start != nil && m.Failed != nil:
		delete(r.pending, m.Seq)
		start.answered <- m.Failed
	case p != nil && m.Ended != nil:
		delete(r.running, m.Seq)
		p.End(*m.Ended)
	}
	return taken
}

// killed is the status of a process that SIGKILL has ended.
const killed = syscall.WaitStatus(syscall.SIGKILL)

// end ends all commands that were running.
func (r *Room) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	for _, p := range r.running {
		p.EndFor(killed, r.reason)
	}
	for _, start := range r.pending {
		start.answered <- errEnded
	}
	clear(r.running)
	clear(r.pending)
	r.conn.Close()
	r.pidfd.Close()
	r.kills.Close()
	close(r.done)
}

// startTime bounds a start. The process table may be full for two seconds, and a room that uses up its memory is slow.
const startTime = 20 * time.Second

// Start starts a command in the room. s.Mark is set: it comes from the agent's own Table. The files stay open. Start returns a
// *wire.Error if the init could not start it, and errEnded if the room ended meanwhile.
//
// The session may have stopped the child of the init before it executes its program. Start sees to it that the child goes on, and
// kills it if that is of no use, as the guarding process of package proc does for the agent's own children.
func (r *Room) Start(s proc.Spec) (*proc.Process, error) {
	if err := r.Ready(context.Background()); err != nil {
		return nil, err
	}
	p := proc.NewProcess(s.Mark, func() int64 { return proc.OOMKills(r.kills) })
	pending := &pendingStart{process: p, uid: s.UID, since: time.Now(), terminal: s.Terminal != nil, answered: make(chan error, 1)}
	seq, ok := r.register(pending)
	if !ok {
		return nil, errEnded
	}
	err := r.conn.write(order{Start: &start{
		Seq: seq, Mark: s.Mark, UID: s.UID, Path: s.Path, Dir: s.Dir, Args: s.Args, Env: s.Env, Terminal: s.Terminal,
	}}, int(s.Files[0]), int(s.Files[1]), int(s.Files[2]))
	if err != nil {
		signalPidfd(r.pidfd, syscall.SIGKILL) // it may have a part of the message
	}
	if err := r.await(pending); err != nil {
		return nil, err
	}
	if pending.terminal && p.Master == 0 { // this program has too many open files
		go killLate(pending)
		return nil, &wire.Error{Code: wire.CodeInternal, Message: "too many open files: the terminal of the command did not arrive"}
	}
	return p, nil
}

// Signal signals a process that Start has returned, or with group its process group. It returns os.ErrProcessDone if it has ended.
func (r *Room) Signal(p *proc.Process, sig syscall.Signal, group bool) error {
	r.mu.Lock()
	var seq uint64
	for n, other := range r.running {
		if other == p {
			seq = n
		}
	}
	r.mu.Unlock()
	if seq == 0 {
		return os.ErrProcessDone
	}
	if err := r.conn.write(order{Signal: &signalling{Seq: seq, Number: sig, Group: group}}); err != nil {
		signalPidfd(r.pidfd, syscall.SIGKILL) // as in Start
		return errEnded
	}
	return nil
}

func (r *Room) register(start *pendingStart) (seq uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return 0, false
	}
	r.seq++
	r.pending[r.seq] = start
	return r.seq, true
}

// await waits for the answer to a start.
func (r *Room) await(start *pendingStart) error {
	late := time.NewTimer(startTime)
	defer late.Stop()
	look := time.NewTimer(proc.HeldUp)
	defer look.Stop()
	for again := proc.HeldUp; ; {
		select {
		case err := <-start.answered:
			return err
		case <-look.C:
			r.release(start)
			again = min(2*again, time.Second)
			look.Reset(again)
		case <-late.C:
			return r.giveUp(start)
		}
	}
}

// release makes stopped children go on. The oldest start does it for all of the room: any may be the one that holds up the others.
func (r *Room) release(start *pendingStart) {
	r.mu.Lock()
	waiting := slices.SortedFunc(maps.Values(r.pending), func(a, b *pendingStart) int { return a.since.Compare(b.since) })
	r.mu.Unlock()
	if len(waiting) == 0 || waiting[0] != start {
		return
	}
	var marks []int
	for _, w := range waiting {
		marks = append(marks, w.process.Mark)
	}
	sig := syscall.SIGCONT
	if time.Since(start.since) > proc.TooLong {
		sig = syscall.SIGKILL
	}
	proc.SignalStopped(sig, marks...)
}

// giveUp returns why a start has failed that was not answered in time. Its process is killed if it comes after all.
func (r *Room) giveUp(start *pendingStart) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case err := <-start.answered:
		return err
	default:
	}
	start.given = true
	return &wire.Error{Code: wire.CodeInternal, Message: "the session's room did not start the command in time: its processes use up what the session has"}
}

// killLate kills the process of a start that was given up.
func killLate(start *pendingStart) {
	if start.process.Master > 0 {
		syscall.Close(start.process.Master)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	proc.Kill(ctx, start.process.Mark, start.uid)
}
