package daemon

import (
	"bytes"
	"context"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

func TestPiecesKeepBytesInOrder(t *testing.T) {
	var p pieces
	var want []byte
	for i := range 3000 {
		b := bytes.Repeat([]byte{byte(i)}, 1+i*7%500)
		p.add(b)
		want = append(want, b...)
		if i%3 == 0 {
			n := i % (len(want) + 1)
			p.drop(n)
			want = want[n:]
		}
		if got := bytes.Join(p.first(len(want)+1), nil); p.size != len(want) || !bytes.Equal(got, want) {
			t.Fatalf("after %d: %d bytes, want %d", i, p.size, len(want))
		}
	}
	if first := bytes.Join(p.first(10), nil); !bytes.Equal(first, want[:10]) {
		t.Errorf("first 10: %v", first)
	}
	if p.drop(len(want)); p.list != nil || p.size != 0 {
		t.Errorf("dropped all, and %d bytes are left", p.size)
	}
}

func TestManySmallWritesMakeFewPieces(t *testing.T) {
	var p pieces
	for range wire.Window {
		p.add([]byte{1})
	}
	if len(p.list) > 60 {
		t.Errorf("%d pieces", len(p.list))
	}
}

// floods starts n streams that are written to without end, and returns a function that ends them.
func floods(t *testing.T, b *budget, n int) (streams []*output, stop func()) {
	var writers sync.WaitGroup
	for range n {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, newOutput(r, b))
		writers.Go(func() {
			defer w.Close()
			io.Copy(w, endless{})
		})
	}
	return streams, func() {
		for _, o := range streams {
			o.close()
		}
		writers.Wait()
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestAllOutputsTogetherKeepNoMoreThanTheBudget(t *testing.T) {
	const n = 40
	b := &budget{limit: 4 << 20}
	streams, stop := floods(t, b, n)
	most := b.limit + n*minWindow
	for begun := time.Now(); time.Since(begun) < 500*time.Millisecond; time.Sleep(time.Millisecond) {
		if used := b.used.Load(); used > most {
			t.Fatalf("%d bytes are kept, more than %d", used, most)
		}
	}
	// The others have no reader, and each continues all the same.
	for i, o := range streams {
		for at := int64(0); at < 4<<20; {
			bytes, _, err := o.from(t.Context(), at)
			if err != nil || len(bytes) == 0 {
				t.Fatalf("stream %d at %d: %v", i, at, err)
			}
			for _, piece := range bytes {
				at += int64(len(piece))
			}
		}
		if used := b.used.Load(); used > most {
			t.Fatalf("%d bytes are kept, more than %d", used, most)
		}
	}
	stop()
	for deadline := time.Now().Add(2 * time.Minute); b.used.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("all streams are closed, and %d bytes are counted", b.used.Load())
		}
	}
}

func TestOneStreamMayKeepAWindow(t *testing.T) {
	b := &budget{limit: maxKept}
	streams, stop := floods(t, b, 1)
	defer stop()
	for deadline := time.Now().Add(2 * time.Minute); streams[0].size() < wire.Window; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it keeps %d bytes", streams[0].size())
		}
	}
	if size := streams[0].size(); size > wire.Window {
		t.Errorf("it keeps %d bytes, more than a window", size)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if bytes, last, err := streams[0].from(ctx, 0); len(bytes) == 0 || last || err != nil {
		t.Errorf("%d pieces, %v, %v", len(bytes), last, err)
	}
}
