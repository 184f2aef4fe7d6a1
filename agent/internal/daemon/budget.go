package daemon

import (
	"sync/atomic"

	"github.com/berth-go/berth/agent/internal/wire"
)

// budget bounds what all outputs together keep: a thousand programs whose client does not read must not fill the
// container's memory. While there is enough, a stream may keep a whole window, which is fast; beyond, only
// minWindow, which every stream may always have: so each goes on, and none waits for another's client.
type budget struct {
	limit int64
	used  atomic.Int64 // bytes kept, and those that a read is under way for
}

const (
	maxKept   = 64 << 20
	minWindow = 32 << 10
)

// window is how much a stream may keep now.
func (b *budget) window() int {
	if b.used.Load() >= b.limit {
		return minWindow
	}
	return wire.Window
}

// take asks for room for n bytes more in a stream that keeps some. It grants at least one, and the caller gives back
// what it does not use.
func (b *budget) take(n, kept int) int {
	for {
		used := b.used.Load()
		left := max(int(b.limit-used), minWindow-kept)
		granted := max(1, min(n, wire.Window-kept, left))
		if b.used.CompareAndSwap(used, used+int64(granted)) {
			return granted
		}
	}
}

func (b *budget) give(n int) { b.used.Add(-int64(n)) }

// pieces are bytes in order. They are never overwritten nor used again, so that whoever got some of them may go on
// reading after they were dropped.
type pieces struct {
	list [][]byte
	size int
}

// pieceSize is the largest piece that is made with room to spare.
const pieceSize = 32 << 10

// add appends a copy of b. Pieces grow with what there is, so that neither a little takes much memory nor many
// small writes make many pieces.
func (p *pieces) add(b []byte) {
	if i := len(p.list) - 1; i >= 0 {
		last := p.list[i]
		n := min(cap(last)-len(last), len(b))
		p.list[i] = append(last, b[:n]...)
		p.size += n
		b = b[n:]
	}
	if len(b) > 0 {
		p.list = append(p.list, append(make([]byte, 0, max(len(b), min(p.size, pieceSize))), b...))
		p.size += len(b)
	}
}

// first returns the first n bytes, or as many as there are.
func (p *pieces) first(n int) (bytes [][]byte) {
	for _, piece := range p.list {
		if n <= 0 {
			break
		}
		piece = piece[:min(n, len(piece))]
		bytes = append(bytes, piece[:len(piece):len(piece)])
		n -= len(piece)
	}
	return bytes
}

// drop forgets the first n bytes.
func (p *pieces) drop(n int) {
	p.size -= n
	for n > 0 {
		if n < len(p.list[0]) {
			p.list[0] = p.list[0][n:]
			return
		}
		n -= len(p.list[0])
		p.list[0] = nil
		p.list = p.list[1:]
	}
	if len(p.list) == 0 {
		p.list = nil
	}
}
