package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/environ"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

// A command is a program that a client started. It stays known after its end, until the client has taken the exit code and the
// rest of the output.
type command struct {
	id string

	ready    chan struct{} // closed when the start is decided; the fields below are set before
	err      error
	session  *session
	proc     *proc.Process
	terminal bool
	detached bool        // its output is kept in rings
	line     *connection // nil = it is a program
	in       *input
	out      *output
	errs     *output  // nil if shared with out, or not wanted
	files    *session // whose files it serves; nil = it is a command of a session
	signals  signals
	signaller

	ended chan struct{} // closed when proc has ended and its session knows; over is set before
	over  string        // why its session was ended by the agent, if that killed it
}

// stream returns an output by its name, or nil if there is none.
func (c *command) stream(name string) *output {
	switch name {
	case "stdout":
		return c.out
	case "stderr":
		return c.errs
	}
	return nil
}

// exit returns how the command has ended.
func (c *command) exit() wire.Exit {
	code, signal := c.proc.Exit()
	return wire.Exit{Code: code, Signal: signal, OutOfMemory: c.proc.OutOfMemory(), OverLimit: c.over, Reason: c.proc.Reason()}
}

// maxEnded is how many ended commands are kept for clients that do not come back.
const maxEnded = 20000

// commands has all known commands.
type commands struct {
	mu    sync.Mutex // protects what follows
	byID  map[string]*command
	ended []string // oldest first; may hold IDs that are gone

	lines *lines // those of them that are connections
}

// get waits until the command's start is decided.
func (cs *commands) get(ctx context.Context, id string) (*command, error) {
	cs.mu.Lock()
	c := cs.byID[id]
	cs.mu.Unlock()
	if c == nil {
		return nil, &wire.Error{Code: wire.CodeUnknownCommand, Message: "no such command"}
	}
	select {
	case <-c.ready:
		return c, c.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// add returns the command of that ID, and makes it if there is none.
func (cs *commands) add(id string) (c *command, fresh bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.byID[id]; c != nil {
		return c, false
	}
	c = &command{id: id, ready: make(chan struct{}), ended: make(chan struct{})}
	cs.byID[id] = c
	return c, true
}

// release forgets a command and closes its streams.
func (cs *commands) release(id string) { cs.end(id, false) }

// end is release. A connection may be reset.
func (cs *commands) end(id string, reset bool) {
	cs.mu.Lock()
	c := cs.byID[id]
	delete(cs.byID, id)
	cs.mu.Unlock()
	if c == nil {
		return
	}
	<-c.ready // soon: a start is bounded
	if c.line != nil {
		cs.lines.close(c, reset)
		return
	}
	if c.out != nil {
		c.out.drop() // of a terminal, it ends the input, too
	}
	if c.in != nil {
		c.in.close()
	}
	if c.errs != nil {
		c.errs.drop()
	}
}

// reserve returns a command that is about to be released. If there is none, the request that starts it may still be on its way:
// reserve makes that request fail when it comes.
func (cs *commands) reserve(id string) (c *command, fresh bool) {
	c, fresh = cs.add(id)
	if fresh {
		c.err = &wire.Error{Code: wire.CodeCanceled, Message: "the command was given up"}
		close(c.ready)
		time.AfterFunc(2*wire.Poll, func() { cs.release(id) })
	}
	return c, fresh
}

// retire records that a command has ended, and releases the oldest ended one if there are too many.
func (cs *commands) retire(id string) {
	cs.mu.Lock()
	cs.ended = append(cs.ended, id)
	var oldest string
	if len(cs.ended) > maxEnded {
		oldest, cs.ended = cs.ended[0], cs.ended[1:]
	}
	cs.mu.Unlock()
	if oldest != "" {
		cs.release(oldest)
	}
}

// start starts a command once, however often the client asks for it.
func (d *Daemon) start(ctx context.Context, id string, s wire.Start) error {
	c, fresh := d.commands.add(id)
	if !fresh {
		_, err := d.commands.get(ctx, id)
		return err
	}
	sess, err := d.sessions.enter(s.Session)
	if err == nil {
		if s.Helper() {
			c.files = sess
			s.Args, s.Env, s.Dir = sess.helper(d, s.Work)
		}
		if err = d.launch(c, sess, s); err != nil || s.Helper() {
			d.sessions.leave(sess, err == nil)
		}
		sess.starting.Done()
	}
	c.err = err
	var told *record
	if err == nil && !s.Helper() && !s.Hidden {
		told = sess.history.begin(c, s.Args)
	}
	close(c.ready)
	if c.err != nil {
		// A repetition must fail in the same way, for a limited time.
		time.AfterFunc(2*wire.Poll, func() { d.commands.release(id) })
		return c.err
	}
	go func() {
		<-c.proc.Done()
		if !s.Helper() {
			d.sessions.leave(sess, true)
		}
		if _, signal := c.proc.Exit(); signal != 0 {
			c.over = d.sessions.whyEnded(sess)
			resume(d, sess, s.Work)
		}
		var over []string
		if told != nil {
			over = sess.history.end(told, c.exit())
		}
		close(c.ended)
		d.commands.retire(id)
		for _, id := range over {
			d.commands.release(id)
		}
	}()
	return nil
}

func (d *Daemon) launch(c *command, sess *session, s wire.Start) error {
	if len(s.Args) == 0 || len(s.Args[0]) == 0 {
		return &wire.Error{Code: wire.CodeNotExecutable, Message: "no program named"}
	}
	c.session, c.signaller = sess, d.table
	if sess.room != nil {
		c.signaller = sess.room
	}
	env := sess.environ(s)
	dir := filepath.Join(sess.place.Workdir, string(s.Dir))
	if filepath.IsAbs(string(s.Dir)) {
		dir = string(s.Dir)
	}
	sess.starts <- struct{}{} // not bounded by ctx: a repetition of the request means this start
	defer sess.starts.leave()
	var size *proc.Size
	wanted := s
	if s.Terminal != nil {
		size, wanted = &proc.Size{Rows: s.Terminal.Rows, Cols: s.Terminal.Cols}, wire.Start{}
		if lookup(env, "TERM") == "" {
			env = append(env, "TERM=xterm")
		}
	}
	rings, err := c.rings(s, d.places.Top(sess.ID))
	if err != nil {
		return err
	}
	streams, err := openStreams(wanted, sess.UID)
	if err != nil {
		closeRings(rings)
		return err
	}
	c.proc, err = d.starter(sess).Start(proc.Spec{
		Args: stringsOf(s.Args), Env: env, Path: lookup(env, "PATH"), Dir: dir,
		UID: sess.UID, Files: streams.child, Terminal: size,
	})
	streams.closeChild()
	if err != nil {
		streams.closeOurs()
		closeRings(rings)
		return environ.StartError(string(s.Args[0]), dir, sess.UID, err)
	}
	if size != nil {
		c.openTerminal(s, &output{budget: &d.kept, ring: rings[0]})
	}
	if streams.in != nil {
		c.in = newInput(streams.in)
	}
	if streams.out != nil {
		c.out = startOutput(&output{pipe: streams.out, budget: &d.kept, ring: rings[0]})
	}
	if streams.errs != nil {
		c.errs = startOutput(&output{pipe: streams.errs, budget: &d.kept, ring: rings[1]})
	}
	return nil
}

// rings makes those of a command that is detached.
func (c *command) rings(s wire.Start, dir string) (two [2]*ring, err error) {
	c.detached = s.Detached
	wanted := [2]bool{s.Stdout, s.Stderr == "pipe"}
	for i := range two {
		if !s.Detached || !wanted[i] {
			continue
		}
		if two[i], err = newRing(dir, min(max(cmp.Or(s.Keep, wire.Keep), 2*pipeSize), wire.MostKept)); err != nil {
			closeRings(two)
			return two, fmt.Errorf("the output cannot be kept: %w", err)
		}
	}
	return two, nil
}

func closeRings(two [2]*ring) {
	for _, r := range two {
		if r != nil {
			r.file.Close()
		}
	}
}

// lookup returns the last value of a key.
func lookup(env []string, key string) (value string) {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			value = v
		}
	}
	return value
}

func stringsOf(bs [][]byte) []string {
	ss := make([]string, len(bs))
	for i, b := range bs {
		ss[i] = string(b)
	}
	return ss
}

// kill ends a command and all processes that it started. It returns false if that takes longer than a request may.
func (d *Daemon) kill(ctx context.Context, c *command) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, wire.Poll)
	defer cancel()
	err := proc.Kill(ctx, c.proc.Mark, c.session.UID)
	if err == nil {
		select {
		case <-c.ended:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false, nil
	}
	return true, err
}

// streams are the pipes of a command.
type streams struct {
	child         [3]uintptr
	in, out, errs *os.File // this side's ends; nil if the command has /dev/null
}

// openStreams makes the pipes that a command asks for. They belong to its uid, so that it can open /dev/stdout.
func openStreams(s wire.Start, uid int) (*streams, error) {
	const unset = ^uintptr(0)
	st := &streams{child: [3]uintptr{unset, unset, unset}}
	null := func(i int) error {
		fd, err := syscall.Open(os.DevNull, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		if err == nil {
			st.child[i] = uintptr(fd)
		}
		return err
	}
	pipe := func(i, childEnd int) (ours *os.File, err error) {
		var fds [2]int
		if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
			return nil, err
		}
		st.child[i] = uintptr(fds[childEnd])
		syscall.Fchown(fds[0], uid, uid)
		our := fds[1-childEnd]
		syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(our), fSetPipeSize, pipeSize) // a larger pipe is faster; a failure does no harm
		syscall.SetNonblock(our, true)
		return os.NewFile(uintptr(our), "pipe"), nil
	}
	var errs [3]error
	if s.Stdin {
		st.in, errs[0] = pipe(0, 0)
	} else {
		errs[0] = null(0)
	}
	if s.Stdout {
		st.out, errs[1] = pipe(1, 1)
	} else {
		errs[1] = null(1)
	}
	switch s.Stderr {
	case "pipe":
		st.errs, errs[2] = pipe(2, 1)
	case "stdout":
		st.child[2] = st.child[1]
	default:
		errs[2] = null(2)
	}
	if err := errors.Join(errs[:]...); err != nil {
		st.closeChild()
		st.closeOurs()
		return nil, err
	}
	return st, nil
}

const fSetPipeSize = 1031

func (st *streams) closeChild() {
	for i, fd := range st.child {
		if fd != ^uintptr(0) && (i != 2 || fd != st.child[1]) {
			syscall.Close(int(fd))
		}
	}
}

func (st *streams) closeOurs() {
	for _, f := range []*os.File{st.in, st.out, st.errs} {
		if f != nil {
			f.Close()
		}
	}
}
