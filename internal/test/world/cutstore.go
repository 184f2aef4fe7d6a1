package world

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/store"
)

// CutStore is a store that one replica cannot reach while it is cut.
type CutStore struct {
	store.Store
	Cut  atomic.Bool // each call returns ErrCut
	Lose atomic.Bool // the next Update that writes a session succeeds and returns ErrUnknownOutcome; then the store is cut
}

// ErrCut is the error of a CutStore that is cut.
var ErrCut = errors.New("the store cannot be reached")

// NewCutProvider is NewProvider, with a Provider that alone reaches the store through a CutStore.
func (w *World) NewCutProvider() (*berth.Provider, *CutStore) {
	w.T.Helper()
	reach := &CutStore{Store: w.Store}
	return w.NewProviderOn(reach), reach
}

// View implements store.Store.
func (s *CutStore) View(ctx context.Context, fn func(store.View) error) error {
	if s.Cut.Load() {
		return ErrCut
	}
	return s.Store.View(ctx, fn)
}

// Update implements store.Store.
func (s *CutStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	if s.Cut.Load() {
		return ErrCut
	}
	made := false
	err := s.Store.Update(ctx, keys, func(tx store.Tx) error {
		return fn(WatchPuts(tx, func(r store.Record) { made = made || r.Key().Kind == store.KindSession }))
	})
	if err == nil && made && s.Lose.CompareAndSwap(true, false) {
		s.Cut.Store(true)
		return store.ErrUnknownOutcome
	}
	return err
}

// WatchPuts returns tx, with a function that is called with each record before it is put.
func WatchPuts(tx store.Tx, put func(store.Record)) store.Tx { return watchedTx{tx, put} }

type watchedTx struct {
	store.Tx
	put func(store.Record)
}

// Put implements store.Tx.
func (tx watchedTx) Put(r store.Record) error {
	tx.put(r)
	return tx.Tx.Put(r)
}
