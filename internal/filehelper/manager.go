// Package filehelper keeps, for each session whose files are in use, the program in its container that serves them: it starts the program
// when it is needed, starts it again when it has died, and ends it when it was not used for a while. Package files is what a host
// application sees of it.
package filehelper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/filewire"
	"github.com/berth-go/berth/files"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/orchestrator"
)

// A Host is the session that the files belong to, with the Provider that it belongs to.
type Host interface {
	// ID returns the session's ID.
	ID() string
	// Use connects to the session's container, and calls start with the connection. From then on the session's lease is renewed, until
	// release is called, which renews it for the last time.
	Use(ctx context.Context, start func(inside orchestrator.Inside, release func()) error) error
	// Explain returns why the session ended, or that the Provider was closed, if err comes from that. Otherwise it returns err itself.
	Explain(ctx context.Context, err error) error
	// Go calls fn in a new goroutine, and Close of the Provider waits for it.
	Go(fn func())
}

// Manager has the programs of a Provider. The zero value is ready for use.
type Manager struct {
	mu     sync.Mutex // protects what follows
	byID   map[string]*program
	starts map[string]*starting
	closed bool
}

// starting is the turn to start the program of a session.
type starting struct {
	turn  chan struct{} // of 1
	users int           // who have or want it
}

// Of returns the server of a session's files.
func (m *Manager) Of(h Host) files.Server { return &server{m, h} }

// Close ends all programs, and waits for a moment until they have ended. Calls that are under way return errs.ErrClosed.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	all := m.byID
	m.byID = nil
	m.mu.Unlock()
	late := time.NewTimer(time.Second)
	defer late.Stop()
	for _, p := range all {
		p.end(errs.ErrClosed)
	}
	for _, p := range all {
		select {
		case <-p.over:
		case <-late.C:
			return
		}
	}
}

// enter returns the program of a session, which is kept until leave; nil if there is none.
func (m *Manager) enter(id string) (*program, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errs.ErrClosed
	}
	p := m.byID[id]
	if p == nil || p.conn.Err() != nil {
		return nil, nil
	}
	p.users++
	p.idle.Stop()
	return p, nil
}

// leave says that a call, or something that was open, has ended.
func (m *Manager) leave(p *program) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.users--; p.users == 0 {
		p.idle.Reset(linger)
	}
}

// hold is enter for a program that its caller has entered.
func (m *Manager) hold(p *program) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p.users++
}

// retire ends a program that is not used any more.
func (m *Manager) retire(p *program) {
	m.mu.Lock()
	unused := p.users == 0
	if unused && m.byID[p.id] == p {
		delete(m.byID, p.id)
	}
	m.mu.Unlock()
	if unused {
		p.ping() // the end renews the lease, so the agent must count the session as used now, too
		p.end(errUnused)
	}
}

var errUnused = fmt.Errorf("%w: it was not used", filewire.ErrLost)

// forget removes a program that has ended.
func (m *Manager) forget(p *program) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p.idle.Stop()
	if m.byID[p.id] == p {
		delete(m.byID, p.id)
	}
}

// take waits for the turn to start the program of a session.
func (m *Manager) take(ctx context.Context, id string) (leave func(), err error) {
	m.mu.Lock()
	s := m.starts[id]
	if s == nil {
		if m.starts == nil {
			m.starts = make(map[string]*starting)
		}
		s = &starting{turn: make(chan struct{}, 1)}
		m.starts[id] = s
	}
	s.users++
	m.mu.Unlock()
	gone := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if s.users--; s.users == 0 {
			delete(m.starts, id)
		}
	}
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn; gone() }, nil
	case <-ctx.Done():
		gone()
		return nil, context.Cause(ctx)
	}
}

// program returns the session's program, which it starts if there is none. The caller calls leave.
func (m *Manager) program(ctx context.Context, h Host) (*program, error) {
	if p, err := m.enter(h.ID()); p != nil || err != nil {
		return p, err
	}
	done, err := m.take(ctx, h.ID())
	if err != nil {
		return nil, err
	}
	defer done()
	if p, err := m.enter(h.ID()); p != nil || err != nil {
		return p, err
	}
	p, err := m.start(ctx, h)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		p.end(errs.ErrClosed)
		return nil, errs.ErrClosed
	}
	if m.byID == nil {
		m.byID = make(map[string]*program)
	}
	m.byID[p.id] = p
	return p, nil
}

// server is the files.Server of a session.
type server struct {
	m    *Manager
	host Host
}

// Call implements [files.Server]. A request that only looks is made again if the program dies meanwhile.
func (s *server) Call(ctx context.Context, r *filewire.Request) (filewire.Answer, error) {
	a, h, err := s.Open(ctx, r)
	if h != nil { // nobody has asked for it
		h.Call(ctx, &filewire.Request{Op: filewire.OpClose, Abort: true})
	}
	return a, err
}

// Open implements [files.Server].
func (s *server) Open(ctx context.Context, r *filewire.Request) (filewire.Answer, files.Handle, error) {
	for try := 0; ; try++ {
		a, h, err := s.try(ctx, r)
		if err == nil || !errors.Is(err, filewire.ErrLost) {
			return a, h, err
		}
		if err = s.explain(ctx, err); try > 0 || !looks(r.Op) || !errors.Is(err, filewire.ErrLost) {
			return a, nil, err
		}
	}
}

func (s *server) try(ctx context.Context, r *filewire.Request) (filewire.Answer, files.Handle, error) {
	if ctx.Err() != nil {
		return filewire.Answer{}, nil, context.Cause(ctx)
	}
	p, err := s.m.program(ctx, s.host)
	if err != nil {
		return filewire.Answer{}, nil, err
	}
	defer s.m.leave(p)
	a, err := p.conn.Call(ctx, r)
	if err != nil || a.Handle == 0 {
		return a, nil, err
	}
	s.m.hold(p)
	h := &handle{server: s, program: p, number: a.Handle}
	h.unhook = context.AfterFunc(ctx, h.drop)
	return a, h, nil
}

// looks reports whether an operation changes nothing.
func looks(op filewire.Op) bool {
	switch op {
	case filewire.OpStat, filewire.OpLstat, filewire.OpReadLink, filewire.OpReadFile:
		return true
	}
	return false
}

// explain returns the error for a program that has ended.
func (s *server) explain(ctx context.Context, err error) error {
	if !errors.Is(err, filewire.ErrLost) {
		return err
	}
	return s.host.Explain(ctx, fmt.Errorf("session %s: %w: %w", s.host.ID(), errs.ErrUnavailable, err))
}

// A handle is something that is open.
type handle struct {
	server  *server
	program *program
	number  uint32
	unhook  func() bool
	closed  sync.Once
}

// Call implements [files.Handle].
func (h *handle) Call(ctx context.Context, r *filewire.Request) (filewire.Answer, error) {
	r.Handle = h.number
	if r.Op == filewire.OpClose {
		return h.close(ctx, r)
	}
	a, err := h.program.conn.Call(ctx, r)
	return a, h.server.explain(ctx, err)
}

// close ends it. It does so in the background, for as long as it takes, if ctx ends first.
func (h *handle) close(ctx context.Context, r *filewire.Request) (a filewire.Answer, err error) {
	first := false
	h.closed.Do(func() { first = true })
	switch {
	case first:
	case ctx.Err() != nil:
		return a, context.Cause(ctx)
	default:
		return a, fs.ErrClosed
	}
	h.unhook()
	done := make(chan error, 1)
	go func() { // ends with the answer, or with the program
		_, err := h.program.conn.Call(context.WithoutCancel(ctx), r)
		h.server.m.leave(h.program)
		done <- err
	}()
	select {
	case err := <-done:
		return a, h.server.explain(ctx, err)
	case <-ctx.Done():
		return a, context.Cause(ctx)
	}
}

// drop ends it when its context has ended.
func (h *handle) drop() {
	h.close(context.Background(), &filewire.Request{Op: filewire.OpClose, Handle: h.number, Abort: true})
}
