package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// attachment is what one caller has of a detached command.
type attachment struct {
	p      *process
	inside *inside
	want   agent.Attach
	reply  reply
	ctx    context.Context // ends when the copying is to end
	cancel context.CancelCauseFunc

	stdin, stdout, stderr *copied // nil = not copied
}

// copied is one stream that is copied for an attachment.
type copied struct {
	over chan struct{} // closed when end is set
	end  agent.StreamEnd
}

var (
	_ orchestrator.Process = (*attachment)(nil)

	errDetached = errors.New("fake: the command goes on without this caller")
	errDropped  = errors.New("fake: the output is not held any more")
)

// attach begins to copy the streams of a command for a caller.
func (p *process) attach(i *inside, r reply, want agent.Attach) (*attachment, agent.Attached) {
	a := &attachment{p: p, inside: i, want: want, reply: r}
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	at := agent.Attached{Terminal: p.terminal != nil}
	if p.stdout != nil {
		a.stdout, at.StdoutFrom = a.copyOut(p.stdout, want.Stdout, want.StdoutFrom)
		if p.stderr != p.stdout {
			a.stderr, at.StderrFrom = a.copyOut(p.stderr, want.Stderr, want.StderrFrom)
		}
	}
	if want.Stdin != nil && p.feed != nil {
		a.stdin = &copied{over: make(chan struct{})}
		p.typist.Store(a)
		go a.copyIn() // ends with the reader, or as soon as the reader returns
	}
	return a, at
}

// copyIn copies the caller's input as long as nobody takes its place.
func (a *attachment) copyIn() {
	defer close(a.stdin.over)
	defer agent.InputEnded(a.want.Stdin)
	for b := make([]byte, chunkSize); ; {
		n, err := a.want.Stdin.Read(b)
		if a.p.typist.Load() != a || a.ctx.Err() != nil || a.inside.ended.Load() {
			return
		}
		if n > 0 {
			if _, err := a.p.feed.Write(b[:n]); err != nil {
				return // the program reads no more
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				a.stdin.end.Own = err
			}
			a.p.feed.CloseWithError(a.stdin.end.Own)
			return
		}
	}
}

// copyOut begins to copy an output from an offset on, and returns where that is.
func (a *attachment) copyOut(o *output, to io.Writer, from int64) (*copied, int64) {
	if to == nil || o.limit == 0 {
		return nil, 0
	}
	o.mu.Lock()
	next := o.base + int64(len(o.kept))
	if from < 0 {
		from = max(o.base, next+from)
	}
	at := min(max(o.base, from), next)
	o.mu.Unlock()
	c := &copied{over: make(chan struct{})}
	go func() { // ends with the stream or with the attachment; the writer may hold it up
		defer close(c.over)
		c.end = a.copyFrom(o, to, at)
		if c.end == (agent.StreamEnd{}) && at > from {
			c.end.Cut = errDropped
		}
	}()
	return c, at
}

func (a *attachment) copyFrom(o *output, to io.Writer, at int64) agent.StreamEnd {
	for {
		b, changed, err := o.recall(at)
		last := isClosed(a.p.ended)
		if err == nil && len(b) > 0 {
			err = a.inside.delivers(a.want.Session)
		}
		switch {
		case a.ctx.Err() != nil:
			return agent.StreamEnd{Cut: context.Cause(a.ctx)}
		case err != nil:
			return agent.StreamEnd{Cut: err}
		case len(b) > 0:
			n, err := to.Write(b)
			if err == nil && n < len(b) {
				err = io.ErrShortWrite
			}
			if err != nil {
				return agent.StreamEnd{Own: err}
			}
			at += int64(len(b))
			continue
		case last && isClosed(a.p.ended) && o.total() == at:
			return agent.StreamEnd{Cut: a.p.gone}
		}
		select {
		case <-changed:
		case <-a.p.ended:
		case <-a.ctx.Done():
		case <-a.inside.done:
			return agent.StreamEnd{Cut: a.inside.err}
		}
	}
}

// recall returns a copy of bytes that are kept, from an offset on.
func (o *output) recall(at int64) ([]byte, <-chan struct{}, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at < o.base {
		return nil, nil, errDropped
	}
	b := o.kept[at-o.base:]
	return append([]byte(nil), b[:min(len(b), chunkSize)]...), o.changed, nil
}

func (o *output) total() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.base + int64(len(o.kept))
}

// keep keeps what a detached command has written, and drops the oldest bytes.
func (o *output) keep(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = append(o.kept, b...)
	if over := len(o.kept) - int(o.limit); over > 0 {
		o.kept = append([]byte(nil), o.kept[over:]...)
		o.base += int64(over)
	}
	o.written.Add(int64(len(b)))
	o.signal()
}

// drop drops what is kept.
func (o *output) drop() {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.base, o.kept = o.base+int64(len(o.kept))+1, nil
	o.signal()
}

// ID implements [orchestrator.Process].
func (a *attachment) ID() string { return a.p.record.ID }

// Wait implements [orchestrator.Process].
func (a *attachment) Wait() (agent.Exit, error) {
	lost := a.lost()
	tell := func(exit agent.Exit) {
		if a.want.Ended != nil {
			a.want.Ended(exit, lost)
		}
	}
	if lost != nil {
		a.cancel(lost)
		tell(agent.Exit{})
		return agent.Exit{}, lost
	}
	tell(a.p.exit)
	pending := a.awaitStreams()
	exit, err := agent.Ends{Stdin: a.stdin.ended(pending), Stdout: a.stdout.ended(pending), Stderr: a.stderr.ended(pending)}.Outcome(a.p.exit, nil)
	a.cancel(context.Canceled)
	return exit, err
}

// lost waits until the command's exit is known here, as process.lost does.
func (a *attachment) lost() error {
	if a.p.ended == nil {
		return nil
	}
	select {
	case <-a.p.ended:
	case <-a.ctx.Done():
		return context.Cause(a.ctx)
	case <-a.inside.done:
		if !errors.Is(a.inside.err, agent.ErrClosed) {
			<-a.p.ended // the container has killed it
		}
	}
	a.reply.woken()
	out := a.inside.container.node.reachable(context.Background(), a.reply, a.inside.host.endpoint.Address)
	if !isClosed(a.p.ended) || out != nil {
		return a.inside.err
	}
	return a.p.gone
}

func (a *attachment) awaitStreams() error {
	var late <-chan time.Time
	if d := a.want.WaitDelay; d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		late = t.C
	}
	for _, c := range []*copied{a.stdout, a.stderr, a.stdin} {
		if c == nil {
			continue
		}
		select {
		case <-c.over:
		case <-a.inside.done:
			return a.inside.err
		case <-a.ctx.Done():
			return context.Cause(a.ctx)
		case <-late:
			return exec.ErrWaitDelay
		}
	}
	return nil
}

func (c *copied) ended(pending error) agent.StreamEnd {
	switch {
	case c == nil:
		return agent.StreamEnd{}
	case !isClosed(c.over):
		return agent.StreamEnd{Cut: pending}
	}
	return c.end
}

// act makes a call about a command.
func (i *inside) act(ctx context.Context, v Verb, session string, effect func() error) error {
	r, err := i.begin(ctx, v, session, i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return err
	}
	return i.finish(ctx, r, effect())
}

// Kill implements [orchestrator.Process].
func (a *attachment) Kill(ctx context.Context) error {
	return a.inside.act(ctx, Kill, a.want.Session, func() error { a.p.kill(); return nil })
}

// Signal implements [orchestrator.Process].
func (a *attachment) Signal(ctx context.Context, sig syscall.Signal, _ bool) error {
	return a.inside.act(ctx, Signal, a.want.Session, func() error { return a.p.signal(sig) })
}

// Resize implements [orchestrator.Process].
func (a *attachment) Resize(ctx context.Context, size agent.Size) error {
	return a.inside.act(ctx, Resize, a.want.Session, func() error { return a.p.resize(size) })
}

// Detach implements [orchestrator.Process].
func (a *attachment) Detach() { a.cancel(errDetached) }

// Delete implements [orchestrator.Process].
func (a *attachment) Delete(ctx context.Context) error {
	return a.inside.act(ctx, Kill, a.want.Session, func() error {
		a.p.kill()
		a.p.deleted.Store(true)
		a.p.stdout.drop()
		a.p.stderr.drop()
		return nil
	})
}

// Detach implements [orchestrator.Process]. A command that is not detached has one caller.
func (p *process) Detach() {}

// Delete implements [orchestrator.Process].
func (p *process) Delete(ctx context.Context) error { return p.Kill(ctx) }

// AttachCommand implements [orchestrator.Inside].
func (i *inside) AttachCommand(ctx context.Context, want agent.Attach) (orchestrator.Process, agent.Attached, error) {
	r, err := i.begin(ctx, Start, want.Session, i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return nil, agent.Attached{}, err
	}
	p, err := i.detached(want)
	if err = i.finish(ctx, r, err); err != nil {
		return nil, agent.Attached{}, err
	}
	a, at := p.attach(i, r, want)
	return a, at, nil
}

// detached returns a command that was started detached, unless it is forgotten.
func (i *inside) detached(want agent.Attach) (*process, error) {
	n := i.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := i.alive(); err != nil {
		return nil, err
	}
	s, err := i.container.usable(want.Session)
	if err != nil {
		return nil, err
	}
	if s.history != nil {
		if p := s.history.detached(want.ID); p != nil && !p.deleted.Load() {
			return p, nil
		}
	}
	return nil, fmt.Errorf("fake: %w: %q", agent.ErrUnknownCommand, want.ID)
}
