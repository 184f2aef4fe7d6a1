package agent

import (
	"sync"

	"github.com/berth-go/berth/agent/internal/wire"
)

// chunks are buffers for streams with data on its way. A stream that waits holds none.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

type chunk struct {
	b [wire.Chunk]byte
	n int
}

// stream is the copying of one stream of a command.
type stream struct {
	name string        // "stdin", "stdout" or "stderr"
	over chan struct{} // closed when end is set
	end  StreamEnd
}

// stop records how the stream ended. The goroutine that calls the Reader or the Writer calls it once.
func (s *stream) stop(end StreamEnd) {
	s.end = end
	close(s.over)
}

// ended returns how the stream ended. A stream that has not ended counts as cut off because of pending. A nil stream is not
// copied.
func (s *stream) ended(pending error) StreamEnd {
	if s == nil {
		return StreamEnd{}
	}
	select {
	case <-s.over:
		return s.end
	default:
		return StreamEnd{Cut: pending}
	}
}
