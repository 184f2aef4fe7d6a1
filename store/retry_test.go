package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// scripted is a store whose Updates have the given outcomes, one after another, and then succeed. nil runs the function.
type scripted struct {
	store.Store
	outcomes []error
	calls    []time.Duration // since begun
	begun    time.Time
}

func (s *scripted) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	s.calls = append(s.calls, time.Since(s.begun))
	if len(s.outcomes) == 0 {
		return s.Store.Update(ctx, keys, fn)
	}
	outcome := s.outcomes[0]
	s.outcomes = s.outcomes[1:]
	if outcome == nil {
		return s.Store.Update(ctx, keys, fn)
	}
	return outcome
}

func TestRetry(t *testing.T) {
	unknown, busy, own := store.ErrUnknownOutcome, errors.New("busy"), errors.New("the function's own")
	for _, c := range []struct {
		what     string
		outcomes []error
		again    error // the error after which an Update is repeated
		fn       error
		want     []error // all match
		not      error   // does not
		reports  int
	}{
		{what: "success"},
		{what: "an unknown outcome", outcomes: []error{unknown, unknown}, reports: 2},
		{what: "a failure", outcomes: []error{busy}, want: []error{busy}, not: unknown},
		{what: "a failure after an unknown outcome", outcomes: []error{unknown, busy}, want: []error{busy, unknown}, reports: 1},
		{what: "a failure that passes", outcomes: []error{busy, busy}, again: busy, reports: 2},
		{what: "another failure", outcomes: []error{busy, store.ErrFenced}, again: busy, want: []error{store.ErrFenced}, not: unknown, reports: 1},
		{what: "a closed store", outcomes: []error{store.ErrClosed}, again: store.ErrClosed, want: []error{store.ErrClosed}},
		{what: "an error of the function", fn: own, want: []error{own}},
		{what: "an error of the function after an unknown outcome", outcomes: []error{unknown}, fn: own, want: []error{own}, not: unknown, reports: 1},
		{what: "an unknown outcome of the function", fn: unknown, want: []error{unknown}},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := &scripted{Store: memstore.New(), outcomes: c.outcomes, begun: time.Now()}
				keys := []store.Key{store.TaskKey("t")}
				reports := 0
				r := store.Retry{Store: st, Report: func(err error, of []store.Key) {
					if err == nil || !slices.Equal(of, keys) {
						t.Errorf("report: %v, %v", err, of)
					}
					reports++
				}}
				if c.again != nil {
					r.Again = func(err error) bool { return errors.Is(err, c.again) }
				}
				err := r.Update(t.Context(), keys, func(store.Tx) error { return c.fn })
				if (err == nil) != (len(c.want) == 0) || c.not != nil && errors.Is(err, c.not) {
					t.Errorf("error: %v", err)
				}
				for _, want := range c.want {
					if !errors.Is(err, want) {
						t.Errorf("error: %v, want %v", err, want)
					}
				}
				if reports != c.reports || len(st.calls) != c.reports+1 {
					t.Errorf("%d reports, %d calls", reports, len(st.calls))
				}
			})
		})
	}
}

func TestRetryPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &scripted{Store: memstore.New(), outcomes: slices.Repeat([]error{store.ErrUnknownOutcome}, 8), begun: time.Now()}
		r := store.Retry{Store: st, Report: func(error, []store.Key) {}}
		if err := r.Update(t.Context(), nil, func(store.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		var want []time.Duration
		at := time.Duration(0)
		for _, ms := range []int{0, 100, 200, 400, 800, 1600, 3200, 5000, 5000} {
			at += time.Duration(ms) * time.Millisecond
			want = append(want, at)
		}
		if !slices.Equal(st.calls, want) {
			t.Errorf("called after %v, want %v", st.calls, want)
		}
	})
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		st := &scripted{Store: memstore.New(), outcomes: slices.Repeat([]error{store.ErrUnknownOutcome}, 8), begun: time.Now()}
		err := store.Retry{Store: st, Report: func(error, []store.Key) {}}.Update(ctx, nil, func(store.Tx) error { return nil })
		if !errors.Is(err, store.ErrUnknownOutcome) || time.Since(st.begun) != 250*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(st.begun))
		}
	})
}
