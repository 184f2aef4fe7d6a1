package storetest

import (
	"context"
	"errors"

	"github.com/berth-go/berth/store"
)

// Again returns a store that runs the function of every Update twice and undoes what the first run has written, as
// any store may do. It finds the functions that do not bear that: those that append to a slice of their caller's, count
// in its variables, or change its records.
func Again(s store.Store) store.Store { return again{s} }

type again struct{ store.Store }

var errFirstRun = errors.New("storetest: undo the first run")

// Update implements [store.Store].
func (a again) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	err := a.Store.Update(ctx, keys, func(tx store.Tx) error {
		_ = fn(tx) // the last run counts, also of its error
		return errFirstRun
	})
	if !errors.Is(err, errFirstRun) {
		return err
	}
	return a.Store.Update(ctx, keys, fn)
}
