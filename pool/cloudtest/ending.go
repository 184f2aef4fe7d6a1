package cloudtest

import (
	"sync"
	"time"

	"github.com/berth-go/berth/pool"
)

var ending = []rule{
	{"a machine that was terminated ends", func(t *test) {
		m := t.launch("launch-1")
		t.runs(m.CloudID)
		t.end(m.CloudID)
		t.ends(m.CloudID)
	}},
	{"a machine that was terminated as it booted ends", func(t *test) {
		m := t.launch("launch-1")
		t.end(m.CloudID)
		t.ends(m.CloudID)
		time.Sleep(min(t.Settle, time.Second)) // List may have missed it before, since it was new
		t.ends(m.CloudID)
	}},
	{"terminating nothing succeeds", func(t *test) {
		t.end()
	}},
	{"terminating what never was succeeds", func(t *test) {
		t.end("i-0123456789abcdef0")
	}},
	{"terminating twice succeeds", func(t *test) {
		m := t.launch("launch-1")
		t.runs(m.CloudID)
		t.end(m.CloudID)
		t.end(m.CloudID)
		t.ends(m.CloudID)
		t.end(m.CloudID)
		t.end(m.CloudID, m.CloudID)
	}},
	{"terminating one machine at the same time succeeds for all", func(t *test) {
		m := t.launch("launch-1")
		t.runs(m.CloudID)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if failed, err := t.Terminate(t.ctx, m.CloudID); err != nil || len(failed) > 0 {
					t.Errorf("Terminate = %v, %v", failed, err)
				}
			})
		}
		all.Wait()
		t.ends(m.CloudID)
	}},
	{"terminating one machine leaves the others", func(t *test) {
		t.two()
		first, second := t.launch("launch-1"), t.launch("launch-2")
		t.runs(first.CloudID)
		t.runs(second.CloudID)
		t.end(first.CloudID)
		t.ends(first.CloudID)
		t.runs(second.CloudID)
	}},
	{"one that never was does not keep the others of a batch", func(t *test) {
		m := t.launch("launch-1")
		t.runs(m.CloudID)
		t.end("i-0123456789abcdef0", m.CloudID)
		t.ends(m.CloudID)
	}},
	{"one that cannot be terminated is reported and does not keep the others of a batch", func(t *test) {
		t.two()
		if t.Protect == nil {
			t.Skip("skipped: no termination fails on this cloud")
		}
		first, second, third := t.launch("launch-1"), t.launch("launch-2"), t.launch("launch-3")
		for _, m := range []pool.Machine{first, second, third} {
			t.runs(m.CloudID)
		}
		t.Protect(t.T, t.Cloud, second.CloudID)
		failed, err := t.Terminate(t.ctx, first.CloudID, second.CloudID, third.CloudID)
		if err != nil || len(failed) != 1 || failed[second.CloudID] == nil {
			t.Fatalf("Terminate = %v, %v, want an error for %s alone", failed, err, second.CloudID)
		}
		t.ends(first.CloudID)
		t.ends(third.CloudID)
		t.runs(second.CloudID)
	}},
	{"somebody else's machine is not terminated", func(t *test) {
		foreign, alive := t.foreign()
		m := t.launch("launch-1")
		t.runs(m.CloudID)
		_, _ = t.Terminate(t.ctx, foreign, m.CloudID) // whether that is an error is the Cloud's choice
		t.ends(m.CloudID)
		if !alive() {
			t.Error("it was terminated")
		}
	}},
}
