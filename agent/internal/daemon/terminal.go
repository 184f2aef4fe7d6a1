package daemon

import (
	"os"
	"strconv"
	"sync"
	"syscall"

	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

// openTerminal makes the streams of a command that was started with a terminal. When the output is closed, the terminal is, and its
// processes get SIGHUP. When the program has closed the terminal itself, it may still have to end, as cat does: it is to get none then.
func (c *command) openTerminal(s wire.Start, out *output) {
	syscall.SetNonblock(c.proc.Master, true)
	master := os.NewFile(uintptr(c.proc.Master), "terminal")
	c.terminal = true
	out.pipe, out.unread, out.user = master, !s.Stdout, c.proc.Done()
	c.out = startOutput(out)
	if s.Stdin {
		c.in = newInput(typist{master})
	}
}

// A typist writes to a terminal.
type typist struct{ *os.File }

// Close types the character that ends the input, if the program reads lines. The terminal stays open for its output.
func (t typist) Close() error {
	raw, err := t.SyscallConn()
	if err != nil {
		return err
	}
	var end byte
	var lines bool
	if err := raw.Control(func(fd uintptr) { end, lines = proc.EndOfFile(int(fd)) }); err != nil || !lines {
		return err
	}
	_, err = t.Write([]byte{end})
	return err
}

// resize sets the size of a command's terminal.
func (cs *commands) resize(r *request) error {
	c, err := cs.get(r.Context(), r.values["id"])
	if err != nil {
		return err
	}
	var size wire.Size
	if err := readJSON(r, &size); err != nil {
		return err
	}
	if !c.terminal {
		return &wire.Error{Code: wire.CodeInvalid, Message: "the command has no terminal"}
	}
	raw, err := c.out.pipe.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) { err = proc.SetSize(int(fd), proc.Size{Rows: size.Rows, Cols: size.Cols}) })
	if failed != nil { // its terminal is closed
		return os.ErrProcessDone
	}
	return err
}

// signals are the signals that a command got. A client that has lost its connection asks again for one that it has sent already.
type signals struct {
	mu   sync.Mutex // held during a signal; protects last
	last []signalled
}

type signalled struct {
	id  string
	err error
}

// manySignals is how many signals of one command are remembered. More are never on their way again.
const manySignals = 64

// signal signals a command's program, or its process group.
func (cs *commands) signal(r *request) error {
	c, err := cs.program(r)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(r.query.Get("number"))
	if err != nil || number < 0 || number > 64 {
		return &wire.Error{Code: wire.CodeInvalid, Message: "no such signal"}
	}
	return c.signals.once(r.values["n"], func() error {
		if isClosed(c.ended) {
			return os.ErrProcessDone
		}
		return c.signaller.Signal(c.proc, syscall.Signal(number), r.query.Get("group") == "1")
	})
}

// A signaller signals a process that it has started: the agent's own Table, or the Keeper of a room.
type signaller interface {
	Signal(p *proc.Process, sig syscall.Signal, group bool) error
}

// once calls a function for each ID, and returns what it has returned.
func (s *signals) once(id string, send func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.last {
		if old.id == id {
			return old.err
		}
	}
	if len(s.last) == manySignals {
		s.last = append(s.last[:0], s.last[1:]...)
	}
	err := send()
	s.last = append(s.last, signalled{id, err})
	return err
}
