package agent

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/berth-go/berth/agent/internal/wire"
)

// chunks are for streams that flow; one that waits holds none.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

type chunk struct {
	b [wire.Chunk]byte
	n int
}

// copyOut copies a stream of the program to w. One goroutine asks the agent, one writes: while a chunk is written,
// the next one is under way. What was asked for is in this program's memory, so that the agent may forget it.
func (p *Process) copyOut(stream string, w io.Writer) {
	ready := make(chan *chunk)
	p.copies.Add(1)
	if !p.c.spawn(func() {
		defer close(ready)
		if err := p.readAll(stream, ready); err != nil && p.ctx.Err() == nil {
			p.failed(err)
		}
	}) {
		close(ready) // closed meanwhile: Wait says so
	}
	go func() { // ends with the stream, or with p.ctx; w may hold it up
		defer p.copies.Done()
		var failed error
		for c := range ready {
			if failed == nil {
				if _, failed = w.Write(c.b[:c.n]); failed != nil {
					p.failed(failed)
					// As with a closed pipe: what the program still writes is refused.
					p.c.afterwards(http.MethodDelete, p.path+"/"+stream)
				}
			}
			chunks.Put(c)
		}
	}()
}

// readAll asks for a stream, chunk by chunk, until its end.
func (p *Process) readAll(stream string, ready chan<- *chunk) error {
	for at := int64(0); ; {
		c, last, err := p.readSome(stream, at)
		if c != nil {
			at += int64(c.n)
			select {
			case ready <- c:
			case <-p.ctx.Done():
				return nil
			}
		}
		if last || err != nil {
			return err
		}
	}
}

func (p *Process) readSome(stream string, at int64) (c *chunk, last bool, err error) {
	path := p.path + "/" + stream + "?from=" + strconv.FormatInt(at, 10)
	err = p.c.do(p.ctx, request{method: http.MethodGet, path: path, timeout: longPoll, read: func(r *http.Response) error {
		if r.ContentLength > wire.Chunk {
			return errBodyTooLong
		}
		last = r.Header.Get(wire.HeaderEnd) != ""
		if r.ContentLength <= 0 {
			return nil
		}
		full := chunks.Get().(*chunk)
		full.n = int(r.ContentLength)
		if _, err := io.ReadFull(r.Body, full.b[:full.n]); err != nil {
			chunks.Put(full)
			return err
		}
		c = full
		return nil
	}})
	return c, last, err
}

// copyIn copies r to the program's stdin until either ends.
func (p *Process) copyIn(r io.Reader) {
	p.copies.Add(1)
	go func() { // ends with r, with the program's reading, or with p.ctx; r may hold it up
		defer p.copies.Done()
		if err := p.writeAll(r); err != nil && p.ctx.Err() == nil {
			p.failed(err)
		}
	}()
}

// smallRead is the first buffer of a stream, which often carries little.
const smallRead = 16 << 10

func (p *Process) writeAll(r io.Reader) error {
	buf := make([]byte, smallRead)
	for at := int64(0); ; {
		n, err := r.Read(buf)
		end := err != nil
		if n > 0 || end {
			closed, err := p.writeSome(at, buf[:n], end)
			if closed || err != nil {
				return err
			}
			at += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == len(buf) && n < wire.Chunk {
			buf = make([]byte, wire.Chunk)
		}
	}
}

// writeSome sends bytes until the agent has taken all. closed says that the program reads no more.
func (p *Process) writeSome(at int64, b []byte, end bool) (closed bool, err error) {
	for {
		path := p.path + "/stdin?from=" + strconv.FormatInt(at, 10)
		if end {
			path += "&end=1"
		}
		var state wire.Stdin
		err := p.c.do(p.ctx, request{method: http.MethodPut, path: path, body: b, answer: &state, timeout: longPoll})
		if err != nil || state.Closed {
			return true, err
		}
		taken := state.Accepted - at
		if taken < 0 || taken > int64(len(b)) {
			return true, errors.New("the agent has lost count of stdin")
		}
		if at, b = at+taken, b[taken:]; len(b) == 0 && (state.Ended || !end) {
			return false, nil
		}
	}
}
