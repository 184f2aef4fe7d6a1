package dockerengine

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/internal/loop"
)

func TestCallersShareOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights[int]
		defer f.close()
		made := 0
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				var heard []string
				got, err := f.do(t.Context(), "key", func(line string) { heard = append(heard, line) },
					func(_ context.Context, say func(string)) (int, error) {
						time.Sleep(time.Second)
						say("half way")
						time.Sleep(time.Second)
						made++
						return made, nil
					}, nil)
				if got != 1 || err != nil || len(heard) != 1 {
					t.Errorf("got %d, %v after %q; want 1 and one line", got, err, heard)
				}
			})
		}
		all.Wait()
		if made != 1 {
			t.Errorf("it was made %d times", made)
		}
	})
}

func TestFlightGoesOnAsLongAsSomebodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights[string]
		defer f.close()
		slow := func(ctx context.Context, _ func(string)) (string, error) {
			return "made", loop.Sleep(ctx, time.Minute)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := f.do(ctx, "key", nil, slow, nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who gave up got %v", err)
			}
		})
		all.Go(func() {
			if got, err := f.do(t.Context(), "key", nil, slow, nil); got != "made" || err != nil {
				t.Errorf("who waited got %q, %v", got, err)
			}
		})
		all.Wait()
	})
}

func TestFlightThatNobodyWaitsForIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights[string]
		defer f.close()
		undone := ""
		stubborn := func(context.Context, func(string)) (string, error) {
			time.Sleep(2 * time.Second) // cannot be cut short
			return "made", nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := f.do(ctx, "key", nil, stubborn, func(made string) { undone = made })
		if !errors.Is(err, context.DeadlineExceeded) || undone != "made" {
			t.Errorf("the error is %v and %q was undone", err, undone)
		}
		if got, err := f.do(t.Context(), "key", nil, stubborn, nil); got != "made" || err != nil {
			t.Errorf("the next one got %q, %v", got, err)
		}
	})
}

func TestWhoLeavesWaitsForUndoingOnlyAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights[string]
		defer f.close()
		stubborn := func(context.Context, func(string)) (string, error) {
			time.Sleep(time.Minute)
			return "made", nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := f.do(ctx, "key", nil, stubborn, nil)
		if took := time.Since(began); took != time.Second+leaveGrace || err == nil {
			t.Errorf("it took %v, with the error %v", took, err)
		}
		// The next flight begins when the first has ended.
		_, err = f.do(t.Context(), "key", nil, func(context.Context, func(string)) (string, error) { return "", nil }, nil)
		if took := time.Since(began); took != time.Minute || err != nil {
			t.Errorf("the next one ended after %v, with the error %v", took, err)
		}
	})
}

func TestClosedFlightsRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights[string]
		var all sync.WaitGroup
		all.Go(func() {
			_, err := f.do(t.Context(), "key", nil, func(ctx context.Context, _ func(string)) (string, error) {
				return "", loop.Sleep(ctx, time.Hour)
			}, nil)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("who waited got %v", err)
			}
		})
		synctest.Wait()
		f.close()
		all.Wait()
		if _, err := f.do(t.Context(), "key", nil, nil, nil); !errors.Is(err, errHostClosed) {
			t.Errorf("after close the error is %v", err)
		}
	})
}
