package daemon

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"github.com/berth-go/berth/agent/internal/wire"
)

// TestRingKeepsTheEnd, however the writes and the end of the file meet.
func TestRingKeepsTheEnd(t *testing.T) {
	r, err := newRing(t.TempDir(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer r.file.Close()
	o := &output{ring: r, changed: make(chan struct{})}
	var all []byte
	for n := range 600 {
		b := bytes.Repeat([]byte{byte(n)}, n%37)
		if !o.keep(b) {
			t.Fatal("the stream is closed")
		}
		all = append(all, b...)
		first := max(0, len(all)-1000)
		got := make([]byte, 2000)
		if k, _, _, err := o.recall(got, int64(first)); err != nil || !bytes.Equal(got[:k], all[first:]) {
			t.Fatalf("after %d bytes, %d are kept, %v", len(all), k, err)
		}
		if _, _, _, err := o.recall(got, int64(first)-1); first > 0 && !errors.Is(err, errDropped) {
			t.Fatalf("bytes that were dropped: %v", err)
		}
	}
	o.mu.Lock()
	o.ended = true
	o.mu.Unlock()
	if _, more, _, err := o.recall(make([]byte, 10), int64(len(all))); more || err != nil {
		t.Errorf("at the end: %v, %v", more, err)
	}
}

// TestALaterWriterTakesTheInput: of the one before it, nothing is taken any more.
func TestALaterWriterTakesTheInput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in := newInput(w)
	put := func(writer string, at int64, text string, want wire.Stdin) {
		t.Helper()
		got, err := in.put(context.Background(), writer, at, part{[]byte(text), func() {}}, false)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	put("", 0, "one", wire.Stdin{Accepted: 3})
	put("later", 0, "two", wire.Stdin{Accepted: 3})
	put("", 3, "lost", wire.Stdin{Closed: true})
	put("later", 0, "twofour", wire.Stdin{Accepted: 7})
	put("last", 0, "!", wire.Stdin{Accepted: 1})
	put("later", 7, "lost", wire.Stdin{Closed: true})
	in.finish()
	var got bytes.Buffer
	if _, err := got.ReadFrom(r); err != nil || got.String() != "onetwofour!" {
		t.Errorf("%q, %v", got.String(), err)
	}
}
