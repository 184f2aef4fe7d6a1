package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

var (
	exitKilled      = agent.Exit{Code: -1, Signal: int(syscall.SIGKILL)}
	exitOutOfMemory = agent.Exit{Code: -1, Signal: int(syscall.SIGKILL), OutOfMemory: true}
)

// Command describes a command to EngineOptions.Run.
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
	// Signals asks for the signals that the command gets, as signal.Notify does, and returns their channel, which holds 16. Before,
	// a signal ends the command if that is what it does to a program by default. Signal 9 always does.
	Signals func() <-chan os.Signal
	// Terminal is the command's terminal; nil = it has none. It passes on what is typed and shown as it is.
	Terminal *Terminal
	// Listen listens on a port of the session: 0 chooses one. Session.Dial reaches it, at any address of the loopback. The command's
	// end closes the listener and its connections.
	Listen func(port int) (net.Listener, error)
	// Credential asks the host for a credential, as the session's git does: the question's URL, Push and Rejected go to Config.Credentials
	// of a process that is attached to the container. A refusal is in the Answer. It returns an error if there is no Config.Credentials,
	// after 20 s if no process is attached, and when the command ends.
	Credential func(context.Context, agent.Question) (agent.Answer, error)
	// SSHAgent connects with the session's agent of ssh, as programs do with what SSH_AUTH_SOCK names: package
	// golang.org/x/crypto/ssh/agent speaks its protocol. Config.SSHAgent answers. It returns an error if there is none. The connection ends
	// with ctx or the command.
	SSHAgent func(context.Context) (net.Conn, error)
}

// process is a started command.
type process struct {
	inside  *inside
	session *session
	cancel  context.CancelFunc
	started agent.Command
	// oomKills is the container's oomKills at the start of the command.
	oomKills int
	reply    reply // of its start
	record   *record

	stdin *io.PipeReader  // the command's input; nil = none
	feed  *io.PipeWriter  // its other end
	fed   chan struct{}   // closed when the reading of the caller's reader has ended; nil = it is never read
	input agent.StreamEnd // why it ended; set before fed is closed

	stdout, stderr *output // equal if they share the caller's writer
	signals        signals
	terminal       *Terminal                  // nil = none
	typist         atomic.Pointer[attachment] // whose input it gets, if it is detached
	deleted        atomic.Bool                // it is not to be attached any more

	ended  chan struct{} // closed when exit and gone are final; nil if it ended as it started
	idle   chan struct{} // closed when its function has returned
	settle sync.Once     // closes ended
	exit   agent.Exit
	gone   error // why its exit is unknown
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
	if c.Detached {
		a, _ := p.attach(i, r, agent.Attach{
			Session: c.Session, Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, WaitDelay: c.WaitDelay, Ended: c.Ended,
		})
		return a, nil
	}
	p.copyOut()
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
	s, err := i.container.usable(c.Session)
	if err != nil {
		return nil, err
	}
	if c.Files || c.Work != "" {
		return i.startHelper(s, r, c)
	}
	s.begun.given.AddEnv(c.Env)
	if c.Hidden {
		return startGitwork(i, s, r, c)
	}
	if len(c.Args) == 0 {
		return nil, fmt.Errorf("%w: no program is named", agent.ErrNotExecutable)
	}
	if e.commands != nil && !e.commands[c.Args[0]] {
		return nil, fmt.Errorf("%w: %q: executable file not found in $PATH", agent.ErrNotExecutable, c.Args[0])
	}
	p := &process{inside: i, session: s, started: c, reply: r, oomKills: i.container.oomKills}
	if c.Terminal != nil {
		if c.Stderr != nil && !agent.SameWriter(c.Stdout, c.Stderr) {
			return nil, errOneOutput
		}
		p.terminal = &Terminal{size: *c.Terminal, changed: make(chan struct{})}
	}
	if s.history == nil {
		s.history = new(history)
	}
	if e.opts.Run == nil {
		p.record = s.history.begin(s.id, p)
		s.history.end(p.record, p.exit)
		s.since = time.Now()
		return p, nil
	}
	ctx, err := p.prepare()
	if err != nil {
		return nil, err
	}
	p.record = s.history.begin(s.id, p)
	command := p.command()
	e.running.Go(func() { p.run(ctx, e.opts.Run, command) })
	return p, nil
}

// command returns what the function of a command gets.
func (p *process) command() Command {
	s, c := p.session, p.started
	dir := s.workdir()
	if !path.IsAbs(c.Dir) {
		dir = path.Join(dir, c.Dir)
	} else {
		dir = path.Clean(c.Dir)
	}
	return Command{
		Container: p.inside.container.spec.Name, Session: s.id, UID: s.uid, Args: c.Args, Env: s.environ(c.Env), Dir: dir,
		Stdin: input{p}, Stdout: p.stdout, Stderr: p.stderr, Files: s.filesOn(p.inside.container.node), Signals: p.signals.notify,
		Terminal: p.terminal, Listen: p.listen, Credential: p.credential, SSHAgent: p.sshAgent,
	}
}

// prepare makes the streams of a process that is about to run, in the context that it returns. The caller holds the node's mu.
func (p *process) prepare() (context.Context, error) {
	if !p.inside.host.runs.add(p) {
		return nil, agent.ErrClosed
	}
	c, s := p.started, p.session
	p.idle = make(chan struct{})
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	p.ended = make(chan struct{})
	if c.Stdin != nil || c.Detached && c.Terminal != nil {
		p.stdin, p.feed = io.Pipe()
	}
	p.stdout = p.newOutput(c.Stdout)
	if p.stderr = p.stdout; p.terminal == nil && !agent.SameWriter(c.Stdout, c.Stderr) {
		p.stderr = p.newOutput(c.Stderr)
	}
	s.processes = append(s.processes, p)
	return ctx, nil
}

// run runs a command to its end.
func (p *process) run(ctx context.Context, run func(context.Context, Command) int, c Command) {
	code := run(ctx, c)
	close(p.idle)
	p.inside.host.runs.remove(p)
	n := p.inside.container.node
	n.mu.Lock()
	p.session.remove(p)
	n.mu.Unlock()
	exit := agent.Exit{Code: code}
	if code < 0 {
		exit = agent.Exit{Code: -1, Signal: -code}
	}
	n.mu.Lock()
	exit.OutOfMemory = code != 0 && p.inside.container.oomKills > p.oomKills
	n.mu.Unlock()
	p.end(exit, nil)
}

// end sets how the command ended, unless that is set already.
func (p *process) end(exit agent.Exit, gone error) {
	p.settle.Do(func() {
		p.exit, p.gone = exit, gone
		if p.record != nil {
			p.session.history.end(p.record, exit)
		}
		p.cancel()
		close(p.ended)
	})
	if p.stdin != nil {
		p.stdin.Close()
	}
}

func (p *process) Wait() (agent.Exit, error) {
	if p.ended == nil {
		p.tell(p.exit, nil)
		return p.exit, nil
	}
	if lost := p.lost(); lost != nil {
		p.tell(agent.Exit{}, lost)
		return agent.Exit{}, lost
	}
	p.tell(p.exit, nil)
	pending := p.awaitStreams()
	in := agent.StreamEnd{}
	if p.fed != nil {
		if in.Cut = pending; isClosed(p.fed) {
			in = p.input
		}
	}
	return agent.Ends{Stdin: in, Stdout: p.stdout.ended(pending), Stderr: p.stderr.ended(pending)}.Outcome(p.exit, nil)
}

// lost waits until the command's exit is known here. It returns an error if the exit will never be known.
func (p *process) lost() error {
	select {
	case <-p.ended:
	case <-p.inside.done:
		if !errors.Is(p.inside.err, agent.ErrClosed) {
			<-p.ended // the container has killed it
		}
	}
	p.reply.woken()
	out := p.inside.container.node.reachable(context.Background(), p.reply, p.inside.host.endpoint.Address)
	switch {
	case !isClosed(p.ended) || out != nil:
		return p.inside.err
	default:
		return p.gone
	}
}

// tell reports the end of the command to Started.Ended, or why it will never be known.
func (p *process) tell(exit agent.Exit, lost error) {
	if p.started.Ended != nil {
		p.started.Ended(exit, lost)
	}
}

// awaitStreams waits for the ends of the streams. Its error says why it stopped waiting.
func (p *process) awaitStreams() error {
	var late <-chan time.Time
	if d := p.started.WaitDelay; d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		late = t.C
	}
	for _, over := range []chan struct{}{p.stdout.over, p.stderr.over, p.fed} {
		if over == nil || isClosed(over) {
			continue
		}
		select {
		case <-over:
		case <-p.inside.done:
			return p.inside.err
		case <-late:
			return exec.ErrWaitDelay
		}
	}
	return nil
}

// ended returns how a stream ended. If it has not ended, it is cut off for the given reason.
func (o *output) ended(pending error) agent.StreamEnd {
	if !isClosed(o.over) {
		return agent.StreamEnd{Cut: pending}
	}
	return o.end
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
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
	if p.ended != nil {
		p.finish(exitKilled)
	}
}

// finish ends a command whose function may not have returned.
func (p *process) finish(exit agent.Exit) {
	n := p.inside.container.node
	n.mu.Lock()
	p.session.remove(p)
	n.mu.Unlock()
	p.end(exit, nil)
}

// abandonTime bounds how long a command whose start was given up may run while its host cannot be reached. The client
// of a real agent tries to kill it for as long as the client lives.
const abandonTime = time.Minute

// abandon kills a command whose start was given up. Its caller has no handle to kill it with. The command continues while its host
// cannot be reached.
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
