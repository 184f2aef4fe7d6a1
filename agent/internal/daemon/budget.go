package daemon

import (
	"sync/atomic"

	"github.com/berth-go/berth/agent/internal/wire"
)

// budget bounds the bytes that all outputs keep together: a thousand programs whose client does not read must not fill the
// container's memory. While the budget lasts, a stream may keep a whole window, which is fast. When it is used up, a stream
// may keep minWindow. Every stream may always keep that, so each continues, and none waits for another's client.
type budget struct {
	limit int64
	used  atomic.Int64 // bytes kept, and those that a read is under way for
}

const (
	maxKept   = 64 << 20
	minWindow = 32 << 10
)

// window returns how many bytes a stream may keep now.
func (b *budget) window() int {
	if b.used.Load() >= b.limit {
		return minWindow
	}
	return wire.Window
}

// take asks for room for n more bytes in a stream that keeps some. It grants at least one byte. The caller gives unused room
// back.
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
