package telemetry

import (
	"context"

	"github.com/berth-go/berth/store"
)

// Store returns a Store that measures the calls of another one.
func (t *Telemetry) Store(st store.Store) store.Store {
	if t == nil {
		return st
	}
	return &measuredStore{st, t}
}

type measuredStore struct {
	store.Store
	t *Telemetry
}

// Unwrap returns the Store whose calls are measured: see store.Watch.
func (s *measuredStore) Unwrap() store.Store { return s.Store }

// View implements store.Store.
func (s *measuredStore) View(ctx context.Context, fn func(store.View) error) error {
	ctx, r := s.t.calls.view.begin(ctx)
	err := s.Store.View(ctx, fn)
	r.end(err)
	return err
}

// Update implements store.Store.
func (s *measuredStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	ctx, r := s.t.calls.update.begin(ctx)
	err := s.Store.Update(ctx, keys, fn)
	r.end(err)
	return err
}
