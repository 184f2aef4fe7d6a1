package cloudtest

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/pool"
)

var waiting = []rule{
	{"a context that has ended ends every call, and nothing is started", func(t *test) {
		f := t.prepare("launch-1")
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		for name, err := range t.calls(ctx, f) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s = %v, want context.Canceled", name, err)
			}
		}
		time.Sleep(min(t.Settle, time.Second))
		if shown := t.listed(); len(shown) != 0 {
			t.Errorf("List = %+v", shown)
		}
	}},
	{"every call returns when its context ends", func(t *test) {
		if t.Hang == nil {
			t.Skip("skipped: no call waits on this cloud")
		}
		f := t.prepare("launch-1")
		t.Hang(t.T, t.Cloud)
		ctx, cancel := context.WithTimeout(t.ctx, 200*time.Millisecond)
		defer cancel()
		begun := time.Now()
		for name, err := range t.calls(ctx, f) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s = %v, want context.DeadlineExceeded", name, err)
			}
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("the calls took %v", took)
		}
	}},
	{"many calls at once neither race nor lose a machine", func(t *test) {
		m := t.launch("launch-1")
		done := make(chan struct{})
		for range 4 {
			go func() {
				defer func() { done <- struct{}{} }()
				for range 10 {
					if _, err := t.List(t.ctx); err != nil {
						t.Errorf("List: %v", err)
					}
					if failed, err := t.Terminate(t.ctx, "i-0123456789abcdef0"); err != nil || len(failed) > 0 {
						t.Errorf("Terminate = %v, %v", failed, err)
					}
				}
			}()
		}
		for range 4 {
			<-done
		}
		t.runs(m.CloudID)
	}},
}

// calls makes every call once and returns the error of each.
func (t *test) calls(ctx context.Context, f pool.Frozen) map[string]error {
	errs := make(map[string]error)
	spec := t.Spec
	spec.LaunchID = "launch-2"
	_, errs["Prepare"] = t.Prepare(ctx, spec)
	_, errs["Launch"] = t.Launch(ctx, "launch-1", f)
	_, errs["List"] = t.List(ctx)
	_, errs["Terminate"] = t.Terminate(ctx, "i-0123456789abcdef0")
	return errs
}
