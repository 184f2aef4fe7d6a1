package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The pauses between the tries of a Retry: the first, and the longest.
const (
	retryPause    = 100 * time.Millisecond
	retryMaxPause = 5 * time.Second
)

// A Retry repeats Updates whose outcome is unknown.
type Retry struct {
	Store Store
	// Again reports whether an Update that has failed for sure is repeated. The error is its function's or the store's.
	// nil = no such Update is repeated
	Again func(error) bool
	// Report is called for each failure that another try follows. keys are the Update's
	Report func(err error, keys []Key)
}

// Update is the store's Update, repeated until it succeeds, fails for sure, or ctx ends. fn must allow for being committed
// twice: it may find the records that an earlier try has written. If an earlier try may have been committed, an error that
// is not fn's own is an ErrUnknownOutcome.
func (r Retry) Update(ctx context.Context, keys []Key, fn func(Tx) error) error {
	var own error // of the last run of fn
	run := func(tx Tx) error {
		own = fn(tx)
		return own
	}
	unknown := false
	for pause := retryPause; ; pause = min(2*pause, retryMaxPause) {
		own = nil
		err := r.Store.Update(ctx, keys, run)
		lost := errors.Is(err, ErrUnknownOutcome) && own == nil
		switch {
		case err == nil:
			return nil
		case !lost && (r.Again == nil || errors.Is(err, ErrClosed) || !r.Again(err)):
			if unknown && own == nil {
				err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
			}
			return err
		case ctx.Err() != nil:
			return err
		}
		unknown = unknown || lost
		r.Report(err, keys)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done(): // one more try
		}
		t.Stop()
	}
}
