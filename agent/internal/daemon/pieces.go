package daemon

import (
	"sync"
	"sync/atomic"
)

// pieces are bytes in order. The bytes that a reader was given are not overwritten while they are kept, nor while the reader holds their
// pieces.
type pieces struct {
	list []*piece
	size int
}

// A piece has some of the bytes, and room for more behind them if its capacity is larger.
type piece struct {
	b     []byte
	buf   *readBuffer  // that holds b, to be used again when users is 0; nil = none
	users atomic.Int32 // the list, and readers that hold it
}

// A readBuffer is a buffer of a stream that is being read. An idle stream holds none.
type readBuffer [pipeSize]byte

var readBuffers = sync.Pool{New: func() any { return new(readBuffer) }}

// pieceSize is the largest piece that is made with room to spare, and the least that is kept in the buffer that it was read into.
const pieceSize = 32 << 10

// take adds the first n bytes of a buffer. It keeps the buffer if they are many, so as not to copy them, and returns it to readBuffers
// otherwise.
func (p *pieces) take(buf *readBuffer, n int) {
	if n < pieceSize || n <= p.room() {
		p.add(buf[:n])
		readBuffers.Put(buf)
		return
	}
	p.push(&piece{b: buf[:n], buf: buf})
	p.size += n
}

// room returns how many bytes fit into the last piece.
func (p *pieces) room() int {
	if len(p.list) == 0 {
		return 0
	}
	last := p.list[len(p.list)-1].b
	return cap(last) - len(last)
}

func (p *pieces) push(one *piece) {
	one.users.Store(1)
	p.list = append(p.list, one)
}

// add appends a copy of b. Pieces grow with the content, so that a few bytes do not take much memory and many small writes do
// not make many pieces.
func (p *pieces) add(b []byte) {
	if n := min(p.room(), len(b)); n > 0 {
		last := p.list[len(p.list)-1]
		last.b = append(last.b, b[:n]...)
		p.size += n
		b = b[n:]
	}
	if len(b) > 0 {
		p.push(&piece{b: append(make([]byte, 0, max(len(b), min(p.size, pieceSize))), b...)})
		p.size += len(b)
	}
}

// first returns the first n bytes, or as many as there are. They may be read for ever.
func (p *pieces) first(n int) (bytes [][]byte) {
	bytes, _ = p.hold(0, n)
	return bytes
}

// hold returns n bytes behind the first skip ones, or as many as there are, and the pieces that have them. The pieces are not used again
// before they are released.
func (p *pieces) hold(skip, n int) (bytes [][]byte, held held) {
	for _, one := range p.list {
		if n <= 0 {
			break
		}
		if skip >= len(one.b) {
			skip -= len(one.b)
			continue
		}
		b := one.b[skip:]
		b, skip = b[:min(n, len(b))], 0
		one.users.Add(1)
		bytes, held = append(bytes, b[:len(b):len(b)]), append(held, one)
		n -= len(b)
	}
	return bytes, held
}

// held are pieces that somebody reads.
type held []*piece

// release says that the bytes are not read any more.
func (h held) release() {
	for _, one := range h {
		one.leave()
	}
}

func (one *piece) leave() {
	if one.users.Add(-1) == 0 && one.buf != nil {
		readBuffers.Put(one.buf)
	}
}

// drop forgets the first n bytes.
func (p *pieces) drop(n int) {
	p.size -= n
	for n > 0 {
		first := p.list[0]
		if n < len(first.b) {
			first.b = first.b[n:]
			return
		}
		n -= len(first.b)
		first.leave()
		p.list[0] = nil
		p.list = p.list[1:]
	}
	if len(p.list) == 0 {
		p.list = nil
	}
}
