package daemon

import (
	"bytes"
	"encoding/binary"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// flooded returns an output that is written to without end, when its window is full.
func flooded(t *testing.T) *output {
	t.Helper()
	streams, stop := floods(t, &budget{limit: maxKept}, 1)
	t.Cleanup(stop)
	fill(t, streams[0])
	return streams[0]
}

func fill(t *testing.T, o *output) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); o.size() < wire.Window; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it keeps %d bytes", o.size())
		}
	}
}

// follower takes all that may be sent, from an offset on, and returns where it stopped.
func follower(o *output, at int64) int64 {
	for {
		bytes, held, _, _ := o.ahead(at)
		held.release()
		if len(bytes) == 0 {
			return at
		}
		at += size(bytes)
	}
}

// TestAFollowedOutputIsAheadByABound: what is sent and not acknowledged is bounded, and so is what is kept.
func TestAFollowedOutputIsAheadByABound(t *testing.T) {
	o := flooded(t)
	if at := follower(o, 0); at != wire.Ahead {
		t.Errorf("%d bytes were sent without an acknowledgement; want %d", at, wire.Ahead)
	}
	o.acknowledge(100_000)
	fill(t, o)
	if at := follower(o, wire.Ahead); at != wire.Ahead+100_000 {
		t.Errorf("%d bytes were sent after 100000 were acknowledged", at)
	}
	if size := o.size(); size > wire.Window {
		t.Errorf("%d bytes are kept", size)
	}
}

// TestAcknowledgements may be repeated and out of order. One of bytes that were not sent ends them, and drops nothing.
func TestAcknowledgements(t *testing.T) {
	for name, c := range map[string]struct {
		acks []uint64
		base int64
	}{
		"in order":                {[]uint64{10, 5000, 400_000}, 400_000},
		"repeated":                {[]uint64{10, 10, 5000, 5000}, 5000},
		"out of order":            {[]uint64{5000, 10, 0, 4999}, 5000},
		"of what was not sent":    {[]uint64{10, 500_001, 5000}, 10},
		"larger than any stream":  {[]uint64{10, 1 << 63, 5000}, 10},
		"of all that is possible": {[]uint64{^uint64(0)}, 0},
	} {
		o := flooded(t)
		var sent atomic.Int64
		sent.Store(500_000)
		var b bytes.Buffer
		for _, at := range c.acks {
			binary.Write(&b, binary.BigEndian, at)
		}
		b.WriteString("half") // an acknowledgement that a lost connection has cut
		readAcks(&b, o, &sent)
		o.mu.Lock()
		base := o.base
		o.mu.Unlock()
		if base != c.base {
			t.Errorf("%s: bytes before %d are dropped; want %d", name, base, c.base)
		}
	}
}

// TestAFollowerThatWasOvertaken gets nothing: another request has acknowledged more.
func TestAFollowerThatWasOvertaken(t *testing.T) {
	o := flooded(t)
	o.acknowledge(1000)
	if bytes, _, more, _ := o.ahead(999); len(bytes) > 0 || more {
		t.Errorf("%d bytes, more %t", size(bytes), more)
	}
	if bytes, _, more, _ := o.ahead(wire.Window * 2); len(bytes) > 0 || more {
		t.Errorf("behind the end: %d bytes, more %t", size(bytes), more)
	}
}

// TestPiecesThatAreHeldAreNotUsedAgain: dropped buffers take new bytes, unless somebody still reads them.
func TestPiecesThatAreHeldAreNotUsedAgain(t *testing.T) {
	var p pieces
	read := func(fill byte, n int) {
		buf := readBuffers.Get().(*readBuffer)
		for i := range n {
			buf[i] = fill
		}
		p.take(buf, n)
	}
	read(1, pipeSize)
	read(2, pipeSize/2)
	read(3, 100) // into the room behind the second one
	if len(p.list) != 2 || p.size != pipeSize+pipeSize/2+100 {
		t.Fatalf("%d pieces of %d bytes", len(p.list), p.size)
	}
	got, held := p.hold(pipeSize-10, pipeSize)
	want := append(append(bytes.Repeat([]byte{1}, 10), bytes.Repeat([]byte{2}, pipeSize/2)...), bytes.Repeat([]byte{3}, 100)...)
	p.drop(p.size)
	for range 20 {
		read(9, pipeSize)
	}
	if !bytes.Equal(bytes.Join(got, nil), want) {
		t.Error("what is held was overwritten")
	}
	first := held[0].buf
	held.release()
	if users := held[0].users.Load(); users != 0 || first == nil {
		t.Errorf("%d users of a buffer that was dropped and released", users)
	}
	p.drop(p.size)
	if p.list != nil || p.size != 0 {
		t.Errorf("%d bytes are left", p.size)
	}
}

// TestInputsThatOvertakeEachOther are written in order and once.
func TestInputsThatOvertakeEachOther(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in := newInput(w)
	const size = 100_000
	want := make([]byte, 3*size)
	for i := range want {
		want[i] = byte(i * 7 / 3)
	}
	results := make(chan wire.Stdin, 6)
	for _, i := range []int{2, 1, 0, 1, 2, 0} { // each twice, as after a lost connection
		b := bytes.Clone(want[i*size : (i+1)*size])
		go func() {
			state, err := in.put(t.Context(), "", int64(i*size), part{b, func() { clear(b) }}, i == 2)
			if err != nil {
				t.Error(err)
			}
			results <- state
		}()
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(r); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes of %d, or other ones, %v", got.Len(), len(want), err)
	}
	for range 6 {
		if state := <-results; state.Accepted > 3*size {
			t.Errorf("%+v", state)
		}
	}
	if _, err := in.put(t.Context(), "", 1<<40, part{nil, func() {}}, false); err == nil {
		t.Error("an offset far beyond the end is taken")
	}
}
