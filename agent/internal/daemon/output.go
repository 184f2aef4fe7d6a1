package daemon

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// output is one stream of a command on its way to the client: what was read from the pipe and is not acknowledged
// yet. When that is a whole window, the pipe is not read, and the program has to wait.
type output struct {
	pipe   *os.File
	budget *budget

	mu      sync.Mutex    // protects what follows
	changed chan struct{} // closed and replaced whenever something below changes
	kept    pieces
	base    int64 // the offset in the stream at which kept begins
	ended   bool  // nothing comes after kept
}

// readBuffers are for streams that flow; idle ones hold none.
var readBuffers = sync.Pool{New: func() any { return new([pipeSize]byte) }}

const pipeSize = 128 << 10

func newOutput(pipe *os.File, b *budget) *output {
	o := &output{pipe: pipe, budget: b, changed: make(chan struct{})}
	go o.pump()
	return o
}

// close ends the stream for both sides: the program gets SIGPIPE if it goes on writing, and what nobody has asked
// for is forgotten.
func (o *output) close() {
	o.mu.Lock()
	o.ended = true
	o.forget(o.kept.size)
	o.signal()
	o.mu.Unlock()
	o.pipe.Close()
}

// pump reads the pipe until its last writer has closed it, or until close.
func (o *output) pump() {
	defer o.pipe.Close()
	defer o.end()
	raw, err := o.pipe.SyscallConn()
	if err != nil {
		return
	}
	for open := true; open && o.waitRoom(); {
		err := raw.Read(func(fd uintptr) (done bool) {
			buf := readBuffers.Get().(*[pipeSize]byte)
			defer readBuffers.Put(buf)
			granted := o.budget.take(len(buf), o.size())
			n, err := syscall.Read(int(fd), buf[:granted])
			o.budget.give(granted - max(n, 0))
			switch {
			case err == syscall.EINTR:
			case err == syscall.EAGAIN:
				return false // called again when there is something
			case n <= 0:
				open = false
			default:
				open = o.add(buf[:n])
			}
			return true
		})
		if err != nil {
			return
		}
	}
}

// waitRoom waits until the window has room; false when the stream was closed. Only what the client acknowledges
// makes room in a stream, so that no stream need be told when the budget has some again: one that waits has
// something to send.
func (o *output) waitRoom() bool {
	for {
		o.mu.Lock()
		ended, room, changed := o.ended, o.kept.size < o.budget.window(), o.changed
		o.mu.Unlock()
		if ended || room {
			return !ended
		}
		<-changed
	}
}

func (o *output) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept.size
}

// add keeps b, which the budget has been asked for; false when the stream was closed meanwhile.
func (o *output) add(b []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		o.budget.give(len(b))
		return false
	}
	o.kept.add(b)
	o.signal()
	return true
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.signal()
}

// signal wakes all who wait for a change. The lock is held.
func (o *output) signal() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// from returns bytes from an offset on, at most a chunk, and forgets all before them. It waits until there are some,
// for a while. last says that none come after these.
func (o *output) from(ctx context.Context, at int64) (bytes [][]byte, last bool, err error) {
	timeout := time.NewTimer(wire.Poll)
	defer timeout.Stop()
	for {
		bytes, last, changed, err := o.take(at)
		if len(bytes) > 0 || last || err != nil {
			return bytes, last, err
		}
		select {
		case <-changed:
		case <-timeout.C:
			return nil, false, nil
		case <-ctx.Done():
			return nil, false, nil
		}
	}
}

func (o *output) take(at int64) (bytes [][]byte, last bool, changed <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	end := o.base + int64(o.kept.size)
	if at < o.base || at > end {
		return nil, false, nil, fmt.Errorf("offset %d is outside %d to %d", at, o.base, end)
	}
	if at > o.base {
		o.forget(int(at - o.base))
		o.signal()
	}
	return o.kept.first(wire.Chunk), o.ended && o.kept.size <= wire.Chunk, o.changed, nil
}

// forget drops the first n bytes. The lock is held.
func (o *output) forget(n int) {
	o.base += int64(n)
	o.kept.drop(n)
	o.budget.give(n)
}
