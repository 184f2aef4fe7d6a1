package daemon

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/berth-go/berth/agent/internal/wire"
)

// An input is the stdin of a command. At most one chunk waits for the program to read it.
type input struct {
	pipe io.WriteCloser

	mu       sync.Mutex    // protects what follows
	changed  chan struct{} // closed and replaced whenever something below changes
	pending  part          // taken and not written yet; the zero value = nothing
	accepted int64         // bytes taken so far
	ending   bool          // no more will come
	closed   bool          // the program reads no more
	writer   string        // whose parts are taken: the last that came. Its offsets begin at start
	start    int64
	past     []string // writers before it, whose parts are not taken any more
}

// A part is some bytes of an input. free is called when they are not used any more.
type part struct {
	b    []byte
	free func()
}

func newInput(pipe io.WriteCloser) *input {
	in := &input{pipe: pipe, changed: make(chan struct{})}
	go in.pump()
	return in
}

func (in *input) close() {
	in.mu.Lock()
	in.closed = true
	in.signal()
	in.mu.Unlock()
	in.pipe.Close()
}

// finish waits until what was taken is written, and closes the input.
func (in *input) finish() {
	for {
		in.mu.Lock()
		closed := in.closed
		if !closed && !in.ending {
			in.ending = true
			in.signal()
		}
		changed := in.changed
		in.mu.Unlock()
		if closed {
			return
		}
		<-changed
	}
}

// abandon closes the input of a connection at once, and does not tell the other side that it has ended.
func (in *input) abandon() {
	in.mu.Lock()
	in.closed = true
	in.signal()
	in.mu.Unlock()
	if h, ok := in.pipe.(half); ok {
		h.File.Close()
	}
}

// signal wakes all who wait for a change. The lock is held.
func (in *input) signal() {
	close(in.changed)
	in.changed = make(chan struct{})
}

// put takes a part, which begins at an offset of the stream, without the bytes that were taken before. It waits for the bytes before
// it and for room, for wire.Poll at most, and returns how much of the stream was taken. It owns the part.
//
// A writer that comes for the first time takes the place of the one before it.
func (in *input) put(ctx context.Context, writer string, at int64, p part, end bool) (wire.Stdin, error) {
	ctx, cancel := context.WithTimeout(ctx, wire.Poll)
	defer cancel()
	taken := false
	defer func() {
		if !taken {
			p.free()
		}
	}()
	for {
		state, now, changed, err := in.offer(writer, at, p, end)
		taken = taken || now
		if err != nil || state.Closed || state.Accepted >= at+int64(len(p.b)) && (state.Ended || !end) {
			return state, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return state, nil
		}
	}
}

// offer takes what it can now. taken says that it has taken the part, of which it writes what was not taken before.
func (in *input) offer(writer string, at int64, p part, end bool) (state wire.Stdin, taken bool, changed <-chan struct{}, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if slices.Contains(in.past, writer) {
		return wire.Stdin{Closed: true}, false, nil, nil
	}
	if writer != in.writer {
		in.past = append(in.past, in.writer)
		in.writer, in.start = writer, in.accepted
		in.signal()
	}
	at += in.start
	if at > in.accepted+wire.Puts*wire.Chunk {
		return wire.Stdin{}, false, nil, fmt.Errorf("offset %d is too far beyond %d", at, in.accepted)
	}
	turn := at <= in.accepted // otherwise the bytes before these are on their way
	if turn && in.pending.b == nil && !in.ending && !in.closed {
		if rest := p.b[min(in.accepted-at, int64(len(p.b))):]; len(rest) > 0 {
			in.pending, taken = part{rest, p.free}, true
			in.accepted += int64(len(rest))
		}
		in.ending = end
		in.signal()
	}
	return wire.Stdin{Accepted: in.accepted - in.start, Ended: in.ending, Closed: in.closed}, taken, in.changed, nil
}

// pump writes the taken bytes to the pipe, until the end or until the program reads no more.
func (in *input) pump() {
	defer in.close()
	for {
		b, changed, more := in.head()
		switch {
		case b != nil:
			if _, err := in.pipe.Write(b); err != nil {
				return
			}
			in.written()
		case !more:
			return
		default:
			<-changed
		}
	}
}

func (in *input) head() (b []byte, changed <-chan struct{}, more bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, nil, false
	}
	return in.pending.b, in.changed, !in.ending
}

func (in *input) written() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.pending.free()
	in.pending = part{}
	in.signal()
}
