package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/berth-go/berth/agent/internal/wire"
)

// An output is one stream of a command on its way to the client. It holds the bytes that were read from the pipe and are not
// acknowledged yet. When they fill the window, the pipe is not read, and the program has to wait.
type output struct {
	pipe   *os.File
	budget *budget
	unread bool            // nobody will ask for it: it is read and dropped
	user   <-chan struct{} // closed when the program of a terminal has ended, which is to be closed later: see openTerminal. nil = a pipe
	ring   *ring           // keeps the end of it, also when it was read; nil = kept has what was not acknowledged

	mu      sync.Mutex    // protects what follows
	changed chan struct{} // closed and replaced whenever something below changes
	kept    pieces
	base    int64 // the offset in the stream at which kept begins
	ended   bool  // nothing comes after kept
	lost    error // why some bytes will never be given out; nil = there are none, or the reader closed the stream
}

const pipeSize = 128 << 10

func newOutput(pipe *os.File, b *budget) *output { return startOutput(&output{pipe: pipe, budget: b}) }

func startOutput(o *output) *output {
	o.changed = make(chan struct{})
	go o.pump()
	return o
}

// close ends the stream for both sides, at its reader's request. The program gets SIGPIPE if it continues to write. Bytes that
// the client has not asked for are dropped.
func (o *output) close() { o.shut(nil) }

// drop is close without the reader's request. A reader that still comes gets an error, so that it does not take the bytes that
// it has for the whole stream.
func (o *output) drop() { o.shut(errDropped) }

// errDropped says that output was dropped before the client asked for it.
var errDropped = errors.New("the output is not held any more")

func (o *output) shut(lost error) {
	o.mu.Lock()
	if !o.ended || o.kept.size > 0 || o.ring != nil {
		o.lost = cmp.Or(o.lost, lost)
	}
	o.ended = true
	o.forget(o.kept.size)
	if o.ring != nil {
		o.ring.first = o.ring.next
	}
	o.signal()
	o.mu.Unlock()
	o.pipe.Close()
	if o.ring != nil {
		o.ring.file.Close()
	}
}

// pump reads the pipe until its last writer has closed it, or until close.
func (o *output) pump() {
	o.end(o.readPipe())
	if o.user != nil {
		<-o.user
	}
	o.pipe.Close()
}

// readPipe returns nil at the pipe's end and after close. Otherwise it returns why the rest of the pipe cannot be read.
func (o *output) readPipe() (failure error) {
	raw, err := o.pipe.SyscallConn()
	if err != nil {
		return err
	}
	for open := true; open && o.waitRoom(); {
		err := raw.Read(func(fd uintptr) (done bool) {
			buf := readBuffers.Get().(*readBuffer)
			granted := o.budget.take(len(buf), o.size())
			n, err := syscall.Read(int(fd), buf[:granted])
			o.budget.give(granted - max(n, 0))
			if err == nil && n > 0 {
				if o.ring != nil {
					open = o.keep(buf[:n])
					readBuffers.Put(buf)
					o.budget.give(n)
				} else {
					open = o.add(buf, n)
				}
				return true
			}
			readBuffers.Put(buf)
			switch {
			case err == syscall.EINTR:
			case err == syscall.EAGAIN:
				return false // called again when there is something
			case err == syscall.EIO: // a terminal that no process has open any more
				open = false
			case err != nil:
				open, failure = false, err
			default:
				open = false
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return failure
}

// waitRoom waits until the window has room. It returns false if the stream was closed. Only acknowledged bytes make room in a
// stream. So a stream need not be woken when the budget has room again: a stream that waits has bytes to send.
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

// add keeps the first n bytes of a buffer, which it owns from then on; the budget has granted them. It returns false if the stream was
// closed meanwhile.
func (o *output) add(buf *readBuffer, n int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		readBuffers.Put(buf)
		o.budget.give(n)
		return false
	}
	o.kept.take(buf, n)
	if o.unread {
		o.forget(n)
	}
	o.signal()
	return true
}

// end records that no more bytes come. A failure after close is that of the closed pipe.
func (o *output) end(failure error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.ended, o.lost = true, failure
	}
	o.signal()
}

// signal wakes all who wait for a change. The lock is held.
func (o *output) signal() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// from returns bytes from an offset on, at most a chunk, and drops all bytes before them. It waits for bytes, for wire.Poll at
// most. last says that no bytes follow.
func (o *output) from(ctx context.Context, at int64) (bytes [][]byte, last bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, wire.Poll)
	defer cancel()
	for {
		bytes, last, changed, err := o.take(at)
		if size(bytes) > 0 || last || err != nil {
			return bytes, last, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false, nil
		}
	}
}

func (o *output) take(at int64) (bytes [][]byte, last bool, changed <-chan struct{}, err error) {
	if o.ring != nil {
		b := make([]byte, wire.Chunk)
		n, more, changed, err := o.recall(b, at)
		if errors.Is(err, errDropped) {
			err = &wire.Error{Code: wire.CodeCut, Message: err.Error()}
		}
		return [][]byte{b[:n]}, !more && err == nil, changed, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	end := o.base + int64(o.kept.size)
	switch {
	case o.lost != nil && (at < o.base || at >= end): // all kept bytes were given out
		return nil, false, nil, &wire.Error{Code: wire.CodeCut, Message: o.lost.Error()}
	case at < o.base || at > end:
		return nil, false, nil, fmt.Errorf("offset %d is outside %d to %d", at, o.base, end)
	}
	if at > o.base {
		o.forget(int(at - o.base))
		o.signal()
	}
	last = o.ended && o.lost == nil && o.kept.size <= wire.Chunk
	return o.kept.first(wire.Chunk), last, o.changed, nil
}

// ahead returns bytes from an offset on, at most a chunk and at most wire.Ahead behind the acknowledged ones. more says that others may
// follow. The caller releases what it holds. The offset is one up to which bytes were given out.
func (o *output) ahead(at int64) (bytes [][]byte, held held, more bool, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	end := o.base + int64(o.kept.size)
	if at < o.base || at > end { // another request has acknowledged more, or the bytes were dropped
		return nil, nil, false, nil
	}
	n := min(wire.Chunk, o.base+wire.Ahead-at)
	bytes, held = o.kept.hold(int(at-o.base), int(n))
	return bytes, held, !o.ended || at < end, o.changed
}

// acknowledge drops the bytes before an offset, if they are not dropped yet.
func (o *output) acknowledge(at int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := at - o.base; n > 0 && n <= int64(o.kept.size) {
		o.forget(int(n))
		o.signal()
	}
}

// forget drops the first n bytes. The lock is held.
func (o *output) forget(n int) {
	o.base += int64(n)
	o.kept.drop(n)
	o.budget.give(n)
}
