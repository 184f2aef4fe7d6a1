package store_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/store"
)

// mute is a store that never answers.
type mute struct{ store.Store }

func (mute) View(ctx context.Context, _ func(store.View) error) error {
	<-ctx.Done()
	return ctx.Err()
}

func (mute) Update(ctx context.Context, _ []store.Key, _ func(store.Tx) error) error {
	<-ctx.Done()
	return store.ErrUnknownOutcome
}

func TestBoundedStoreDoesNotKeepItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := store.Bounded(mute{}, time.Minute)
		begun := time.Now()
		if err := st.View(t.Context(), nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Minute {
			t.Errorf("View: %v after %v", err, time.Since(begun))
		}
		if err := st.Update(t.Context(), nil, nil); !errors.Is(err, store.ErrUnknownOutcome) || time.Since(begun) != 2*time.Minute {
			t.Errorf("Update: %v after %v", err, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := st.View(ctx, nil); err != context.DeadlineExceeded {
			t.Errorf("a caller who gives up earlier: %v", err)
		}
	})
}
