package agent

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/berth-go/berth/agent/internal/wire"
)

// copyIn copies r to the program's stdin until either ends.
func (p *Process) copyIn(r io.Reader) *stream {
	s := &stream{name: "stdin", over: make(chan struct{})}
	go func() { // ends with r, with the program's reading, or with p.ctx; r may hold it up
		s.stop(p.writeAll(r))
		InputEnded(r)
	}()
	return s
}

// InputEnded tells a Stdin that no more is read from it, if it has a method InputEnded.
func InputEnded(stdin io.Reader) {
	if r, ok := stdin.(interface{ InputEnded() }); ok {
		r.InputEnded()
	}
}

// smallRead is the size of a stream's first buffer: many streams carry little.
const smallRead = 16 << 10

// writeAll reads r to its end and sends what it reads. While a part is on its way, it reads the next one.
func (p *Process) writeAll(r io.Reader) StreamEnd {
	puts := 1
	if p.c.follows() {
		puts = wire.Puts
	}
	w := &parts{p: p, buffers: make(chan []byte, puts), stop: make(chan struct{})}
	for range puts {
		w.buffers <- nil
	}
	for size := smallRead; ; {
		buf, ok := w.buffer(size)
		if !ok {
			return StreamEnd{Cut: w.wait()}
		}
		n, err := r.Read(buf)
		if end := err != nil; n > 0 || end {
			w.send(buf, n, end)
		} else {
			w.buffers <- buf
		}
		switch {
		case errors.Is(err, io.EOF):
			return StreamEnd{Cut: w.wait()}
		case err != nil:
			return w.failed(err)
		case n == len(buf):
			size = wire.Chunk
		}
	}
}

// parts are the parts of an input that are on their way to the agent.
type parts struct {
	p       *Process
	buffers chan []byte  // those that are not under way
	at      int64        // where the next part begins
	sent    atomic.Int64 // where the last one ends

	flying sync.WaitGroup
	once   sync.Once
	stop   chan struct{} // closed when no more need be sent: err is set before, if the reason is one
	err    error
}

// buffer waits for a buffer. It returns false when no more need be sent.
func (w *parts) buffer(size int) (buf []byte, ok bool) {
	select {
	case <-w.stop:
		return nil, false
	default:
	}
	select {
	case buf = <-w.buffers:
	case <-w.stop:
		return nil, false
	}
	if len(buf) < size {
		buf = make([]byte, size)
	}
	return buf, true
}

// send sends the first n bytes of a buffer in the background.
func (w *parts) send(buf []byte, n int, end bool) {
	at := w.at
	w.at += int64(n)
	w.sent.Store(w.at)
	w.flying.Go(func() {
		closed, err := w.put(at, buf[:n], end)
		if closed || err != nil {
			w.once.Do(func() {
				w.err = err
				close(w.stop)
			})
		}
		w.buffers <- buf
	})
}

// wait waits for the parts that are on their way, and returns why one was not taken. A program that reads no more is no reason.
func (w *parts) wait() error {
	w.flying.Wait()
	return w.err
}

// failed is the end of an input whose Reader has failed. That the program had stopped to read before goes first.
func (w *parts) failed(err error) StreamEnd {
	w.flying.Wait()
	select {
	case <-w.stop:
		return StreamEnd{Cut: w.err}
	default:
		return StreamEnd{Own: err}
	}
}

// put sends a part until the agent has taken all of it. closed says that the program reads no more.
func (w *parts) put(at int64, b []byte, end bool) (closed bool, err error) {
	for {
		path := w.p.path + "/stdin?from=" + strconv.FormatInt(at, 10)
		if end {
			path += "&end=1"
		}
		if w.p.writer != "" {
			path += "&writer=" + w.p.writer
		}
		var state wire.Stdin
		err := w.p.c.do(w.p.ctx, request{method: http.MethodPut, path: path, body: b, answer: &state, timeout: longPoll})
		if unknownCommand(err) { // the agent does not forget a command that runs
			return true, nil
		}
		if err != nil || state.Closed {
			return true, err
		}
		if state.Accepted < 0 || state.Accepted > w.sent.Load() {
			return true, errLostCount
		}
		// The parts before this one may still be on their way, and those behind it may have been taken too.
		taken := min(max(state.Accepted-at, 0), int64(len(b)))
		if at, b = at+taken, b[taken:]; len(b) == 0 && (state.Ended || !end) {
			return false, nil
		}
	}
}
