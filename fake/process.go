package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

var exitKilled = agent.Exit{Code: -1, Signal: int(syscall.SIGKILL)}

// Command is a command as EngineOptions.Run sees it.
type Command struct {
	Container string // its name
	Session   string // its ID
	UID       int
	Args      []string
	Env       map[string]string // the session's and the command's own, and HOME, TMPDIR and PATH
	Dir       string            // absolute
	Stdin     io.Reader         // never nil; ends when the command is killed
	Stdout    io.Writer         // never nil, as Stderr: fails when the command is killed
	Stderr    io.Writer
	Files     *Files // the session's, shared by its commands and gone when it ends
}

// process is a command that was started.
type process struct {
	inside  *inside
	session *session
	cancel  context.CancelFunc
	started agent.Command
	reply   reply // of its start

	stdin *io.PipeReader // what the command reads; nil = nothing
	feed  *io.PipeWriter // its other end
	fed   chan struct{}  // closed when the caller's reader is not read any more; nil = it never was

	ended  chan struct{} // closed when exit and gone are final; nil if it ended as it started
	settle sync.Once     // closes ended
	exit   agent.Exit
	gone   error // why its exit is not known

	writing chan struct{} // filled while somebody writes
	failed  error         // of a stream; protected by writing
}

var _ orchestrator.Process = (*process)(nil)

func (i *inside) Start(ctx context.Context, c agent.Command) (orchestrator.Process, error) {
	e := i.container.node.engine
	r, err := i.begin(ctx, Start, c.Session, e.opts.Latency.Exec)
	if err != nil {
		return nil, err
	}
	p, err := i.start(r, c)
	if err = i.finish(ctx, r, err); err != nil {
		if p != nil && p.feed != nil {
			p.feed.Close()
		}
		if p != nil && ctx.Err() != nil {
			p.abandon()
		}
		return nil, err
	}
	p.copyIn()
	return p, nil
}

func (i *inside) start(r reply, c agent.Command) (*process, error) {
	n, e := i.container.node, i.container.node.engine
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := i.alive(); err != nil {
		return nil, err
	}
	s := i.container.sessions[c.Session]
	if s == nil {
		return nil, fmt.Errorf("%w: %s", agent.ErrUnknownSession, c.Session)
	}
	if len(c.Args) == 0 {
		return nil, fmt.Errorf("%w: no program is named", agent.ErrNotExecutable)
	}
	if e.commands != nil && !e.commands[c.Args[0]] {
		return nil, fmt.Errorf("%w: %q: executable file not found in $PATH", agent.ErrNotExecutable, c.Args[0])
	}
	p := &process{inside: i, session: s, started: c, reply: r}
	if e.opts.Run == nil {
		s.since = time.Now()
		return p, nil
	}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	p.ended, p.writing = make(chan struct{}), make(chan struct{}, 1)
	if c.Stdin != nil {
		p.stdin, p.feed = io.Pipe()
	}
	if s.files == nil {
		s.files = new(Files)
	}
	s.processes = append(s.processes, p)
	dir := s.workdir()
	if !path.IsAbs(c.Dir) {
		dir = path.Join(dir, c.Dir)
	} else {
		dir = path.Clean(c.Dir)
	}
	command := Command{
		Container: i.container.spec.Name, Session: s.id, UID: s.uid, Args: c.Args, Env: s.environ(c.Env), Dir: dir,
		Stdin: input{p}, Stdout: output{p, c.Stdout}, Stderr: output{p, c.Stderr}, Files: s.files,
	}
	e.running.Go(func() { p.run(ctx, e.opts.Run, command) })
	return p, nil
}

// run is the life of a command.
func (p *process) run(ctx context.Context, run func(context.Context, Command) int, c Command) {
	code := run(ctx, c)
	n := p.inside.container.node
	n.mu.Lock()
	p.session.remove(p)
	n.mu.Unlock()
	exit := agent.Exit{Code: code}
	if code < 0 {
		exit = agent.Exit{Code: -1, Signal: -code}
	}
	p.end(exit, nil)
}

// end settles how the command ended, if that was not settled before.
func (p *process) end(exit agent.Exit, gone error) {
	p.settle.Do(func() {
		p.exit, p.gone = exit, gone
		p.cancel()
		close(p.ended)
	})
	if p.stdin != nil {
		p.stdin.Close()
	}
}

func (p *process) Wait() (agent.Exit, error) {
	if p.ended == nil {
		p.tell()
		return p.exit, nil
	}
	select {
	case <-p.ended:
	case <-p.inside.done:
		if !errors.Is(p.inside.err, agent.ErrClosed) {
			<-p.ended // the container has killed it
		}
	}
	p.reply.woken()
	out := p.inside.container.node.reachable(context.Background(), p.reply, p.inside.host.endpoint.Address)
	p.tell()
	failed := p.quiet()
	select {
	case <-p.ended:
	default:
		return agent.Exit{}, p.inside.err
	}
	switch {
	case p.gone != nil:
		return agent.Exit{}, p.gone
	case out != nil && errors.Is(p.inside.err, agent.ErrClosed):
		return agent.Exit{}, p.inside.err
	}
	return p.exit, failed
}

// tell says that the end of the command is known.
func (p *process) tell() {
	if p.started.Ended != nil {
		p.started.Ended()
	}
}

// quiet waits for the copying that is under way, unless nobody is attached any more, and returns the error of a stream
// that failed. The command has ended, so that no write begins afterwards.
func (p *process) quiet() error {
	var late <-chan time.Time
	if d := p.started.WaitDelay; d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		late = t.C
	}
	if p.fed != nil {
		select {
		case <-p.fed:
		default: // what is over already decides
			select {
			case <-p.fed:
			case <-p.inside.done:
				return p.inside.err
			case <-late:
				return exec.ErrWaitDelay
			}
		}
	}
	select {
	case p.writing <- struct{}{}:
	default:
		select {
		case p.writing <- struct{}{}:
		case <-p.inside.done:
			return p.inside.err
		case <-late:
			return exec.ErrWaitDelay
		}
	}
	defer func() { <-p.writing }()
	return p.failed
}

func (p *process) Kill(ctx context.Context) error {
	r, err := p.inside.begin(ctx, Kill, p.started.Session, p.inside.container.node.engine.opts.Latency.Call)
	if err != nil {
		return err
	}
	p.kill()
	return p.inside.finish(ctx, r, nil)
}

func (p *process) kill() {
	if p.ended == nil {
		return
	}
	n := p.inside.container.node
	n.mu.Lock()
	p.session.remove(p)
	n.mu.Unlock()
	p.end(exitKilled, nil)
}

// abandonTime bounds how long a command whose start was given up may go on where its host is out of reach: the client of
// a real agent tries for as long as it lives.
const abandonTime = time.Minute

// abandon kills a command whose start was given up: nobody else could. While its host is out of reach it runs on.
func (p *process) abandon() {
	n := p.inside.container.node
	if p.ended == nil {
		return
	}
	if !n.troubled.Load() {
		p.kill()
		return
	}
	n.engine.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), abandonTime)
		defer cancel()
		r := p.reply
		r.cut = p.ended
		if n.reachable(ctx, r, p.inside.host.endpoint.Address) == nil && !p.inside.ended.Load() {
			p.kill()
		}
	})
}

func cutPair(pair string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(pair, "=")
	return key, value, ok && key != ""
}
