package store

import (
	"context"
	"fmt"
	"time"
)

// Bounded returns a Store whose View and Update end after timeout at the latest, even if their context has no deadline
// or a later one. So no caller waits without bound for a database that does not answer. Closing it closes st.
func Bounded(st Store, timeout time.Duration) Store { return &bounded{st, timeout} }

type bounded struct {
	Store
	timeout time.Duration
}

// Unwrap returns the Store whose calls are bounded: see Watch.
func (b *bounded) Unwrap() Store { return b.Store }

// View implements Store.
func (b *bounded) View(ctx context.Context, fn func(View) error) error {
	return b.call(ctx, func(ctx context.Context) error { return b.Store.View(ctx, fn) })
}

// Update implements Store.
func (b *bounded) Update(ctx context.Context, keys []Key, fn func(Tx) error) error {
	return b.call(ctx, func(ctx context.Context) error { return b.Store.Update(ctx, keys, fn) })
}

func (b *bounded) call(ctx context.Context, do func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	err := do(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("store: no answer within %v: %w", b.timeout, err)
	}
	return err
}
