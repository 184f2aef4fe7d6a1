package storetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-go/berth/store"
)

// Again returns a store that runs the function of every Update twice and undoes the writes of the first run, as any store may
// do. It finds functions that must not run twice: those that append to a slice of their caller, count in its variables, or
// change its records.
func Again(s store.Store) store.Store { return again{s} }

type again struct{ store.Store }

var errFirstRun = errors.New("storetest: undo the first run")

// Update implements [store.Store].
func (a again) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	err := a.Store.Update(ctx, keys, func(tx store.Tx) error {
		_ = fn(tx) // the last run counts, and so does its error
		return errFirstRun
	})
	if !errors.Is(err, errFirstRun) {
		return err
	}
	return a.Store.Update(ctx, keys, fn)
}

// Strict returns a store that treats the keys of an Update as a database does: a function that asks for a record beyond
// them is undone, and runs again with that among them. It finds the functions that ask for another record each time,
// such as one of a random ID that they have just made: these would never come to an end.
func Strict(s store.Store) store.Store { return strict{s} }

type strict struct{ store.Store }

// mostMisses is how often a function may ask for a record that was not named.
const mostMisses = 40

var errBeyond = errors.New("storetest: a record that was not named")

// Update implements [store.Store].
func (s strict) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	named := make(map[store.Key]bool)
	for _, key := range keys {
		named[key] = true
	}
	for range mostMisses {
		before := len(named)
		err := s.Store.Update(ctx, keys, func(tx store.Tx) error {
			err := fn(&strictTx{tx, named})
			if len(named) > before {
				return errBeyond
			}
			return err
		})
		if len(named) == before || !errors.Is(err, errBeyond) {
			return err
		}
	}
	panic(fmt.Sprintf("storetest: an Update of %v asks for other records each time it runs", keys))
}

// strictTx records the keys that it is asked for.
type strictTx struct {
	store.Tx
	named map[store.Key]bool
}

func (tx *strictTx) Get(key store.Key) (store.Record, error) {
	tx.named[key] = true
	return tx.Tx.Get(key)
}

func (tx *strictTx) Put(r store.Record) error {
	tx.named[r.Key()] = true
	return tx.Tx.Put(r)
}

func (tx *strictTx) Delete(key store.Key) error {
	tx.named[key] = true
	return tx.Tx.Delete(key)
}
