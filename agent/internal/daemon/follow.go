package daemon

import (
	"encoding/binary"
	"io"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// A stream that is followed has sent much. After fewBytes of it, the next ones have gather to become more: each message wakes several
// programs on its way, which takes more CPU time than the bytes do. The program goes on meanwhile.
const (
	fewBytes = 128 << 10
	gather   = time.Millisecond
)

// followed is an output, or a ringReader.
type followed interface {
	ahead(at int64) (bytes [][]byte, held held, more bool, changed <-chan struct{})
	acknowledge(at int64)
}

// follow sends an output from an offset on, until nothing comes for wire.Poll, and reads acknowledgements meanwhile. The client asks
// in the usual way how the stream has ended.
func follow(r *request, o followed, at int64) error {
	o.acknowledge(at)
	var sent atomic.Int64 // the end of what was sent
	sent.Store(at)
	heard := make(chan struct{})
	go func() { // ends with the request
		defer close(heard)
		readAcks(r, o, &sent)
	}()
	if err := r.Flush(); err != nil {
		return nil
	}
	idle := time.NewTimer(wire.Poll)
	defer idle.Stop()
	for {
		bytes, held, more, changed := o.ahead(at)
		if n := size(bytes); n > 0 {
			at += n
			sent.Store(at)
			whole := sendAll(r, bytes)
			held.release()
			if !whole {
				return nil // the client asks again for bytes that do not arrive
			}
			idle.Reset(wire.Poll)
			if n < fewBytes {
				time.Sleep(gather)
			}
			continue
		}
		if !more {
			return nil
		}
		select {
		case <-changed:
		case <-heard:
			return nil
		case <-idle.C:
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

// readAcks applies acknowledgements until they end. One of bytes that were not sent ends them.
func readAcks(r io.Reader, o followed, sent *atomic.Int64) {
	var ack [wire.AckSize]byte
	for {
		if _, err := io.ReadFull(r, ack[:]); err != nil {
			return
		}
		at := binary.BigEndian.Uint64(ack[:])
		if at > uint64(sent.Load()) {
			return
		}
		o.acknowledge(int64(at))
	}
}

func size(bytes [][]byte) (n int64) {
	for _, b := range bytes {
		n += int64(len(b))
	}
	return n
}

func sendAll(r *request, bytes [][]byte) bool {
	for _, b := range bytes {
		if _, err := r.Write(b); err != nil {
			return false
		}
	}
	return r.Flush() == nil
}
