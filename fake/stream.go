package fake

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent"
)

// Sizes of a stream.
const (
	pipeSize  = 64 << 10 // the most bytes on their way; a command that writes more waits
	chunkSize = 16 << 10 // the most bytes that the caller's writer gets at once
)

// output is a stream that a command writes. Written output is on its way until it has been copied to the
// caller's writer, which sets the pace. So a command may have ended before its output has arrived.
type output struct {
	process *process
	to      io.Writer // nil drops everything

	over chan struct{}   // closed when end is set and the copying has ended
	end  agent.StreamEnd // how the stream ended

	written atomic.Int64 // bytes, if they are not dropped at once

	limit int64 // how many of the last bytes are kept for every caller; 0 = those that were not copied, for one

	mu      sync.Mutex    // protects the fields below
	base    int64         // the offset at which kept begins, if limit is not 0
	changed chan struct{} // closed and replaced when something below changes
	kept    []byte
	shut    bool // further writes are dropped
}

// newOutput returns a stream to w.
func (p *process) newOutput(w io.Writer) *output {
	o := &output{process: p, to: w, over: make(chan struct{}), changed: make(chan struct{})}
	if w == nil || p.started.Detached {
		close(o.over)
	}
	if p.started.Detached {
		o.limit = cmp.Or(p.started.Keep, 16<<20)
	}
	return o
}

// copyOut begins to copy the command's output.
func (p *process) copyOut() {
	if p.ended == nil {
		return
	}
	if p.stdout.to != nil {
		go p.stdout.copy() // ends with the stream, or with the Inside; the writer may hold it up
	}
	if p.stderr.to != nil && p.stderr != p.stdout {
		go p.stderr.copy()
	}
}

// signal wakes everybody who waits for a change. The caller holds mu.
func (o *output) signal() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// Write puts b on its way, and waits for room. It drops b if the Inside is closed.
func (o *output) Write(b []byte) (n int, err error) {
	p := o.process
	for {
		select {
		case <-p.ended:
			return n, io.ErrClosedPipe
		default:
		}
		if o.limit > 0 {
			o.keep(b)
			return n + len(b), nil
		}
		if o.to == nil || p.inside.ended.Load() {
			o.count(len(b))
			return n + len(b), nil
		}
		o.mu.Lock()
		if o.shut {
			o.mu.Unlock()
			return n, io.ErrClosedPipe
		}
		if room := min(pipeSize-len(o.kept), len(b)); room > 0 {
			o.kept = append(o.kept, b[:room]...)
			o.count(room)
			n, b = n+room, b[room:]
			o.signal()
		}
		changed := o.changed
		o.mu.Unlock()
		if len(b) == 0 {
			return n, nil
		}
		select {
		case <-changed:
		case <-p.ended:
		case <-p.inside.done:
		}
	}
}

// count counts what is written. What goes to /dev/null does not count.
func (o *output) count(n int) {
	if o.to != nil {
		o.written.Add(int64(n))
	}
}

// next returns bytes that are on their way, or none at the end of the stream. The error says that the stream had more
// bytes, or that this is not known.
func (o *output) next() ([]byte, error) {
	p := o.process
	for {
		var last bool
		select {
		case <-p.ended:
			last = true
		default:
		}
		o.mu.Lock()
		b, changed := o.kept, o.changed
		o.shut = o.shut || last && len(b) == 0 // also for a Write that is under way
		o.mu.Unlock()
		switch {
		case p.inside.ended.Load():
			<-p.inside.done
			return nil, p.inside.err
		case len(b) > 0:
			return b[:min(len(b), chunkSize)], p.inside.delivers(p.started.Session)
		case last:
			return nil, p.gone
		}
		select {
		case <-changed:
		case <-p.ended:
		case <-p.inside.done:
		}
	}
}

// delivers takes a chunk of output to the caller's machine. An attached client reconnects until the Inside ends.
func (i *inside) delivers(session string) error {
	n := i.container.node
	call := Call{Actor: i.host.actor, Verb: Deliver, Host: i.host.name, Container: i.container.spec.Name, Session: session}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), deliverTime)
		r, err := n.engine.begin(ctx, call, 0, i.done)
		r.cut = i.done
		if err == nil {
			err = n.reachable(ctx, r, i.host.endpoint.Address)
		}
		if err == nil {
			err = r.finish(ctx, nil)
		}
		cancel()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errCut):
			return i.err // done is closed
		}
		if err := sleep(context.Background(), reconnectTime, i.done); err != nil {
			return i.err
		}
	}
}

// Times of a connection.
const (
	deliverTime   = 45 * time.Second       // after which the client asks again for a chunk that does not come
	reconnectTime = 100 * time.Millisecond // until a broken connection is replaced
)

// copy gives the caller's writer everything that is written, and records how the stream ended.
func (o *output) copy() {
	defer close(o.over)
	for {
		b, err := o.next()
		if len(b) == 0 || err != nil {
			o.end.Cut = err
			return
		}
		n, err := o.to.Write(b)
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		o.mu.Lock()
		o.kept = o.kept[len(b):]
		o.shut = err != nil
		o.signal()
		o.mu.Unlock()
		if err != nil {
			o.end.Own = err
			return
		}
	}
}

// copyIn reads the caller's reader in a goroutine of its own, so that a reader that blocks does not keep a killed
// command alive. It does delay Wait, as in os/exec.
func (p *process) copyIn() {
	if p.feed == nil {
		return
	}
	p.fed = make(chan struct{})
	go func() { // ends with the reader, or with the command as soon as the reader returns
		defer close(p.fed)
		source := &reader{r: p.started.Stdin}
		io.Copy(p.feed, source)
		agent.InputEnded(p.started.Stdin)
		p.input.Own = source.err
		p.feed.CloseWithError(source.err)
	}()
}

// reader remembers why reading from r failed.
type reader struct {
	r   io.Reader
	err error
}

func (r *reader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// input is the stream that a command reads.
type input struct {
	process *process
}

func (i input) Read(b []byte) (int, error) {
	if i.process.stdin == nil {
		return 0, io.EOF
	}
	return i.process.stdin.Read(b)
}
