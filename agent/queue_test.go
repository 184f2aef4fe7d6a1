package agent

import (
	"encoding/binary"
	"testing"

	"github.com/berth-go/berth/agent/internal/wire"
)

// TestAcknowledgementsBeginAtTheOffset: the agent waits for those of a stream that is read from an offset on, too.
func TestAcknowledgementsBeginAtTheOffset(t *testing.T) {
	const from = 10 << 20
	q := newQueue(t.Context(), from)
	full := new(chunk)
	full.n = len(full.b)
	q.put(full)
	q.take()
	var ack [wire.AckSize]byte
	if _, err := q.acks(from).Read(ack[:]); err != nil || binary.BigEndian.Uint64(ack[:]) != from+wire.Chunk {
		t.Errorf("acknowledged up to %d, %v; want %d", binary.BigEndian.Uint64(ack[:]), err, from+wire.Chunk)
	}
}
