package daemon

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// input is the stdin of a command: at most one chunk waits for the program to read it.
type input struct {
	pipe *os.File

	mu       sync.Mutex    // protects what follows
	changed  chan struct{} // closed and replaced whenever something below changes
	pending  []byte        // taken, and not written yet
	accepted int64         // bytes taken so far
	ending   bool          // no more will come
	closed   bool          // no more is wanted
}

func newInput(pipe *os.File) *input {
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

// signal wakes all who wait for a change. The lock is held.
func (in *input) signal() {
	close(in.changed)
	in.changed = make(chan struct{})
}

// put takes b, which begins at an offset of the stream; what was taken before is skipped. It waits until there is
// room, for a while, and says how far it came.
func (in *input) put(ctx context.Context, at int64, b []byte, end bool) (wire.Stdin, error) {
	timeout := time.NewTimer(wire.Poll)
	defer timeout.Stop()
	for {
		state, changed, err := in.offer(at, b, end)
		if err != nil || state.Closed || state.Accepted >= at+int64(len(b)) && (state.Ended || !end) {
			return state, err
		}
		select {
		case <-changed:
		case <-timeout.C:
			return state, nil
		case <-ctx.Done():
			return state, nil
		}
	}
}

func (in *input) offer(at int64, b []byte, end bool) (wire.Stdin, <-chan struct{}, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if at > in.accepted {
		return wire.Stdin{}, nil, fmt.Errorf("offset %d is beyond %d", at, in.accepted)
	}
	skip := min(in.accepted-at, int64(len(b)))
	if b = b[skip:]; in.pending == nil && !in.ending && !in.closed {
		if len(b) > 0 {
			in.pending = b
			in.accepted += int64(len(b))
		}
		in.ending = end
		in.signal()
	}
	return wire.Stdin{Accepted: in.accepted, Ended: in.ending, Closed: in.closed}, in.changed, nil
}

// pump writes what was taken to the pipe until the end, or until the program reads no more.
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
	return in.pending, in.changed, !in.ending
}

func (in *input) written() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.pending = nil
	in.signal()
}
