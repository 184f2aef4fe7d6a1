package daemon

import (
	"bytes"
	"testing"

	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

// The conformance suite of engines holds what is listed. This is what it cannot see.

// TestHistoryIsBounded: of many commands that have ended, a few are remembered, with little of their arguments. Those that run stay.
func TestHistoryIsBounded(t *testing.T) {
	var h history
	begin := func(id string, args ...[]byte) *record {
		return h.begin(&command{id: id, proc: proc.NewProcess(1, func() int64 { return 0 })}, args)
	}
	var running []*record
	for range 3 {
		running = append(running, begin("runs", []byte("sleep")))
		for range 2 * wire.MostEnded {
			h.end(begin("ends", []byte("sh"), make([]byte, 1<<20)), wire.Exit{Code: 7})
		}
	}
	size, ended := 0, 0
	for _, r := range h.all {
		for _, a := range r.Args {
			if cap(a) > 2*wire.MostArguments {
				t.Fatalf("%d bytes of memory are kept for an argument", cap(a))
			}
			if r.Exit != nil {
				size += len(a)
			}
		}
		if r.Exit != nil {
			ended++
		}
	}
	if size > wire.MostRecalled || ended == 0 || ended != h.ended || size != h.size || len(h.all) != ended+len(running) {
		t.Errorf("%d of %d commands have ended, with arguments of %d bytes; it counts %d, %d", ended, len(h.all), size, h.ended, h.size)
	}
	for _, r := range running {
		h.end(r, wire.Exit{})
	}
	if last := h.list(0); len(last) != h.ended || len(last) > wire.MostEnded {
		t.Errorf("%d are listed, %d have ended", len(last), h.ended)
	}
}

// TestHistoryIsListedInPages: each command once, in order.
func TestHistoryIsListedInPages(t *testing.T) {
	var h history
	for range 2*wire.CommandPage + 1 {
		h.begin(&command{proc: proc.NewProcess(1, func() int64 { return 0 })}, nil)
	}
	var seq uint64
	for _, want := range []int{wire.CommandPage, wire.CommandPage, 1, 0} {
		page := h.list(seq)
		if len(page) != want {
			t.Errorf("%d after %d, want %d", len(page), seq, want)
		}
		for _, c := range page {
			if seq++; c.Seq != seq {
				t.Fatalf("number %d, want %d", c.Seq, seq)
			}
		}
	}
	if page := h.list(1 << 63); len(page) != 0 {
		t.Errorf("%d after the last", len(page))
	}
}

// TestTheBytesOfAReleasedCommand are still counted.
func TestTheBytesOfAReleasedCommand(t *testing.T) {
	o, w := piped(t)
	text := bytes.Repeat([]byte("x"), 100)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if b, _, err := o.from(t.Context(), 0); err != nil || length(b) != 100 {
		t.Fatalf("%d bytes, %v", length(b), err)
	}
	o.drop()
	if got := o.total(); got != 100 {
		t.Errorf("%d bytes are counted", got)
	}
}
