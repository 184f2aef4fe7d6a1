package fake

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/berth-go/berth/agent"
)

// errOneOutput is the error of a command with a terminal and two outputs.
var errOneOutput = errors.New("fake: a terminal has one output: Stderr must be nil or Stdout")

// signals are those that a command gets. The zero value is ready for use.
type signals struct {
	mu    sync.Mutex     // protects taken
	taken chan os.Signal // nil = the command has not asked
}

// notify is Command.Signals.
func (s *signals) notify() <-chan os.Signal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken == nil {
		s.taken = make(chan os.Signal, 16)
	}
	return s.taken
}

// harmless are the signals of Linux that do not end a program by default. Not every system has names for them.
var harmless = []syscall.Signal{0, 17, 18, 19, 20, 21, 22, 23, 28}

// send gives a signal to the command's function, or reports that it ends the command.
func (s *signals) send(sig syscall.Signal) (ends bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case sig == syscall.SIGKILL:
		return true
	case s.taken != nil && sig != 0:
		select {
		case s.taken <- sig:
		default: // as with signal.Notify
		}
		return false
	}
	return !slices.Contains(harmless, sig)
}

// Signal implements [orchestrator.Process].
func (p *process) Signal(ctx context.Context, sig syscall.Signal, _ bool) error {
	r, err := p.inside.begin(ctx, Signal, p.started.Session, p.inside.container.node.engine.opts.Latency.Call)
	if err != nil {
		return err
	}
	return p.inside.finish(ctx, r, p.signal(sig))
}

func (p *process) signal(sig syscall.Signal) error {
	if p.ended == nil || isClosed(p.ended) {
		return os.ErrProcessDone
	}
	if p.signals.send(sig) {
		p.finish(agent.Exit{Code: -1, Signal: int(sig)})
	}
	return nil
}

// A Terminal is the terminal of a command.
type Terminal struct {
	mu      sync.Mutex // protects what follows
	size    agent.Size
	changed chan struct{} // closed and replaced when size changes
}

// Size returns the size of the terminal, and a channel that is closed when it changes. A program would get SIGWINCH then.
func (t *Terminal) Size() (size agent.Size, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.size, t.changed
}

// Resize implements [orchestrator.Process].
func (p *process) Resize(ctx context.Context, size agent.Size) error {
	r, err := p.inside.begin(ctx, Resize, p.started.Session, p.inside.container.node.engine.opts.Latency.Call)
	if err != nil {
		return err
	}
	return p.inside.finish(ctx, r, p.resize(size))
}

func (p *process) resize(size agent.Size) error {
	switch {
	case p.terminal == nil:
		return errors.New("fake: the command has no terminal")
	case p.ended == nil || isClosed(p.ended):
		return os.ErrProcessDone
	}
	t := p.terminal
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.size != size {
		t.size = size
		close(t.changed)
		t.changed = make(chan struct{})
	}
	return nil
}
