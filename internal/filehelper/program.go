package filehelper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/filewire"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/orchestrator"
)

const (
	// startTimeout bounds the start of a program.
	startTimeout = time.Minute
	// linger is how long a program that is not used stays. A start takes a few milliseconds.
	linger = 30 * time.Second
	// pulse is the time between two signs of life for a program that has something open: the container's agent takes each for a use
	// of the session, and a program that gets none ends by itself.
	pulse = 15 * time.Second
	// endTime bounds how long the streams of a program that has ended may take.
	endTime = 5 * time.Second
)

var errNoAnswer = fmt.Errorf("%w: the agent of the container has not answered for %v", errs.ErrUnavailable, startTimeout)

// A program serves the files of a session.
type program struct {
	id    string // of the session
	conn  *filewire.Conn
	over  chan struct{} // closed when it has ended
	users int           // calls, and what is open; protected by Manager.mu
	idle  *time.Timer   // ends it; runs while there are no users
}

// end ends a program by the end of its input.
func (p *program) end(why error) { p.conn.Close(why) }

// start starts a program, with one user.
func (m *Manager) start(ctx context.Context, h Host) (p *program, err error) {
	err = h.Use(ctx, func(inside orchestrator.Inside, release func()) error {
		p, err = m.startInside(ctx, h, inside, release)
		return err
	})
	return p, err
}

func (m *Manager) startInside(ctx context.Context, h Host, inside orchestrator.Inside, release func()) (*program, error) {
	stdin, requests := io.Pipe()
	answers, stdout := io.Pipe()
	starting, cancel := context.WithTimeoutCause(ctx, startTimeout, errNoAnswer)
	defer cancel()
	process, err := inside.Start(starting, agent.Command{
		Session: h.ID(), Args: []string{"files"}, Files: true, Stdin: stdin, Stdout: stdout, WaitDelay: endTime,
		Ended: func(agent.Exit, error) { stdin.Close() },
	})
	if err != nil {
		release()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if starting.Err() != nil {
			err = fmt.Errorf("%w: %v", errNoAnswer, err) // %v: the caller's context has not ended
		}
		return nil, h.Explain(ctx, fmt.Errorf("session %s: cannot serve its files: %w", h.ID(), err))
	}
	p := &program{id: h.ID(), conn: filewire.NewConn(requests, answers), over: make(chan struct{}), users: 1}
	p.idle = time.AfterFunc(linger, func() { m.retire(p) })
	p.idle.Stop()
	ended := make(chan struct{})
	h.Go(func() { m.keep(p, ended) })
	h.Go(func() {
		exit, err := process.Wait()
		stdout.CloseWithError(why(exit, err)) // the connection ends with it
		close(ended)
		<-p.conn.Done()
		m.forget(p)
		release()
		close(p.over)
	})
	return p, nil
}

// why returns why a program has ended.
func why(exit agent.Exit, err error) error {
	switch cut := (*agent.CutError)(nil); {
	case exit.OverLimit != "":
		return fmt.Errorf("%w: %s", agent.ErrOverLimit, exit.OverLimit)
	case err != nil && !errors.As(err, &cut) && !errors.Is(err, io.ErrClosedPipe):
		return err
	case exit.Signal != 0:
		return fmt.Errorf("signal %d", exit.Signal)
	}
	return fmt.Errorf("exit status %d", exit.Code)
}

// ping gives a program a sign of life, which counts as a use of the session.
func (p *program) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), pulse)
	defer cancel()
	p.conn.Call(ctx, &filewire.Request{Op: filewire.OpPing})
}

// keep gives a program signs of life while something is open.
func (m *Manager) keep(p *program, ended <-chan struct{}) {
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		m.mu.Lock()
		used := p.users > 0
		m.mu.Unlock()
		if used {
			p.ping()
		}
	}
}
