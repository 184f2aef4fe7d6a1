package agent

import (
	"context"
	"encoding/binary"
	"io"
	"sync"

	"github.com/berth-go/berth/agent/internal/wire"
)

// A queue has the bytes of an output between the goroutine that receives them and the one that writes them. The first one has room for
// wire.Ahead bytes, so that it never leaves bytes in the connection, where they would hold up other streams.
type queue struct {
	ctx context.Context // ends the queue

	mu      sync.Mutex // protects what follows
	changed sync.Cond
	list    []*chunk
	size    int   // bytes in list
	taken   int64 // the offset in the stream behind the last byte that take has returned
	ended   bool  // nothing follows list
	cut     error // why not
	unhook  func() bool
}

// newQueue returns a queue for the bytes of a stream from an offset on.
func newQueue(ctx context.Context, from int64) *queue {
	q := &queue{ctx: ctx, taken: from}
	q.changed.L = &q.mu
	q.unhook = context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.changed.Broadcast()
	})
	return q
}

// put adds a chunk, which it owns from then on, and returns how many bytes wait. It does not wait. A chunk that fits is copied to the
// end of the last one, so that many small ones do not take much memory.
func (q *queue) put(c *chunk) (held int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.size += c.n
	if last := len(q.list) - 1; c.n == 0 || last >= 0 && q.list[last].n+c.n <= len(c.b) {
		if c.n > 0 {
			q.list[last].n += copy(q.list[last].b[q.list[last].n:], c.b[:c.n])
		}
		chunks.Put(c)
	} else {
		q.list = append(q.list, c)
	}
	q.changed.Broadcast()
	return q.size
}

// end says that nothing follows, and why if that is not the end of the stream.
func (q *queue) end(cut error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended, q.cut = true, cut
	q.changed.Broadcast()
}

// take returns the next chunk, or nil if there is no further one or the context has ended.
func (q *queue) take() *chunk {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.ended && q.ctx.Err() == nil {
		q.changed.Wait()
	}
	if len(q.list) == 0 || q.ctx.Err() != nil {
		return nil
	}
	c := q.list[0]
	q.list[0] = nil
	if q.list = q.list[1:]; len(q.list) == 0 {
		q.list = nil
	}
	q.size -= c.n
	q.taken += int64(c.n)
	q.changed.Broadcast()
	return c
}

// drained waits until all bytes are taken. Its error is why they will not be.
func (q *queue) drained() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) > 0 && q.ctx.Err() == nil {
		q.changed.Wait()
	}
	return context.Cause(q.ctx)
}

// close is called when take has returned nil. It returns why not all bytes were taken, or nil if they were.
func (q *queue) close() error {
	q.unhook()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended && len(q.list) == 0 {
		return q.cut
	}
	for _, c := range q.list {
		chunks.Put(c)
	}
	q.list = nil
	return context.Cause(q.ctx)
}

// acks returns the body of a request that follows the stream from an offset on, up to which all bytes are taken.
func (q *queue) acks(from int64) *acks { return &acks{q: q, told: from} }

// acks are the acknowledgements of the bytes that were taken from a queue. There are at most maxAcks, then they end, and with them the
// answer: a body of an unknown length would take a large buffer of net/http's.
type acks struct {
	q *queue

	told   int64 // protected by q.mu, like the others
	n      int
	closed bool
}

const (
	maxAcks = 1 << 10
	ackStep = wire.Ahead / 4 // bytes for which an acknowledgement is worth its cost
)

// Read waits until there is something to acknowledge.
func (a *acks) Read(p []byte) (int, error) {
	a.q.mu.Lock()
	defer a.q.mu.Unlock()
	for !a.closed && a.n < maxAcks && a.q.taken-a.told < ackStep {
		a.q.changed.Wait()
	}
	if a.closed || a.n == maxAcks {
		return 0, io.EOF
	}
	if len(p) < wire.AckSize {
		return 0, io.ErrShortBuffer
	}
	a.told = a.q.taken
	a.n++
	binary.BigEndian.PutUint64(p, uint64(a.told))
	return wire.AckSize, nil
}

// Close makes Read return.
func (a *acks) Close() error {
	a.q.mu.Lock()
	defer a.q.mu.Unlock()
	a.closed = true
	a.q.changed.Broadcast()
	return nil
}
