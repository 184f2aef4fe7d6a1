package loop_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/internal/loop"
)

var errEnded = errors.New("ended")

// endsAfter returns a context that ends after d, because of errEnded. 0 = at once; less = never.
func endsAfter(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	switch {
	case d == 0:
		cancel(errEnded)
	case d > 0:
		timer := time.AfterFunc(d, func() { cancel(errEnded) })
		t.Cleanup(func() { timer.Stop() })
	}
	t.Cleanup(func() { cancel(nil) })
	return ctx
}

func TestWait(t *testing.T) {
	const never = -1
	for _, c := range []struct {
		what        string
		d           time.Duration
		wakes, ends time.Duration
		want        error
		took        time.Duration
	}{
		{"the time is over", time.Second, never, never, nil, time.Second},
		{"no time", 0, never, never, nil, 0},
		{"woken", time.Hour, time.Minute, never, nil, time.Minute},
		{"woken before", time.Hour, 0, never, nil, 0},
		{"woken later", time.Second, time.Minute, never, nil, time.Second},
		{"the context ends", time.Hour, never, time.Minute, errEnded, time.Minute},
		{"the context has ended", time.Hour, never, 0, errEnded, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				ctx, wake := endsAfter(t, c.ends), loop.NewSignal()
				switch {
				case c.wakes == 0:
					wake.Set()
				case c.wakes > 0:
					defer time.AfterFunc(c.wakes, wake.Set).Stop()
				}
				err := loop.Wait(ctx, c.d, wake.C())
				if err != c.want || time.Since(begun) != c.took {
					t.Errorf("%v after %v, want %v after %v", err, time.Since(begun), c.want, c.took)
				}
			})
		})
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		if err := loop.Sleep(t.Context(), time.Minute); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if err := loop.Sleep(endsAfter(t, time.Second), time.Minute); err != errEnded || time.Since(begun) != 61*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestEvery(t *testing.T) {
	for _, c := range []struct {
		what        string
		takes, ends time.Duration
		want        []time.Duration // seconds after the start
	}{
		{"short calls", 0, 25 * time.Second, []time.Duration{0, 10, 20}},
		{"long calls", 15 * time.Second, 40 * time.Second, []time.Duration{0, 15, 30}},
		{"an ended context", 0, 0, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				var called []time.Duration
				loop.Every(endsAfter(t, c.ends), 10*time.Second, func() {
					called = append(called, time.Since(begun)/time.Second)
					time.Sleep(c.takes)
				})
				if !slices.Equal(called, c.want) {
					t.Errorf("called after %v seconds, want %v", called, c.want)
				}
			})
		})
	}
}

func TestRetry(t *testing.T) {
	pauses := loop.Pauses{First: time.Second, Longest: 5 * time.Second}
	for _, c := range []struct {
		what string
		ends time.Duration
		done int // the try that succeeds; 0 = none
		want error
		at   []time.Duration // seconds after the start
	}{
		{"the first try succeeds", -1, 1, nil, []time.Duration{0}},
		{"the pauses grow", -1, 6, nil, []time.Duration{0, 1, 3, 7, 12, 17}},
		{"the context ends", 2 * time.Second, 0, errEnded, []time.Duration{0, 1}},
		{"an ended context allows one try", 0, 0, errEnded, []time.Duration{0}},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				var at []time.Duration
				err := loop.Retry(endsAfter(t, c.ends), pauses, func() bool {
					at = append(at, time.Since(begun)/time.Second)
					return len(at) == c.done
				})
				if err != c.want || !slices.Equal(at, c.at) {
					t.Errorf("%v, tries after %v seconds, want %v, %v", err, at, c.want, c.at)
				}
			})
		})
	}
}

func TestSignalRemembersOneSet(t *testing.T) {
	s := loop.NewSignal()
	for range 3 {
		s.Set()
	}
	<-s.C()
	select {
	case <-s.C():
		t.Error("it remembers two")
	default:
	}
}

func TestFailures(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	f := loop.NewFailures(ctx, slog.New(slog.NewTextHandler(&out, nil)))
	f.Report("cannot tidy", errEnded, "key", "k")
	if got := out.String(); f.Count() != 1 || !strings.Contains(got, `level=WARN msg="cannot tidy" key=k err=ended`) {
		t.Errorf("%d failures, log: %s", f.Count(), got)
	}
	cancel()
	f.Report("cannot tidy", errEnded)
	if f.Count() != 1 || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("a failure after the end: %d failures, log: %s", f.Count(), &out)
	}
}
