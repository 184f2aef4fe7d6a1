package memstore

import (
	"errors"
	"fmt"

	"github.com/berth-go/berth/store"
)

// errOver is the error of a Tx or a View that is used after its function has returned.
var errOver = errors.New("memstore: used after the function that got it has returned")

// tx is one run of an Update's function. It writes in place, and keeps the old versions for undoing.
type tx struct {
	data      *data // nil when the function has returned
	undo      []change
	replaced  int // length of data.replaced when it began
	committed bool
}

// change is one write that may have to be undone.
type change struct {
	row *row
	was version
}

func (d *data) begin() *tx { return &tx{data: d, undo: d.undo, replaced: len(d.replaced)} }

func (t *tx) commit() {
	t.committed = true
	if len(t.undo) > 0 {
		t.data.seq++
	}
}

// end undoes writes that were not committed, and makes every later use of t fail.
func (t *tx) end() {
	d := t.data
	if !t.committed {
		for i := len(t.undo) - 1; i >= 0; i-- {
			t.undo[i].row.version = t.undo[i].was
		}
		d.replaced = d.replaced[:t.replaced]
	}
	clear(t.undo)
	if cap(t.undo) <= mostUndo {
		d.undo = t.undo[:0]
	}
	if len(d.changed) > mostChanged {
		d.settle()
	}
	t.data, t.undo = nil, nil
}

// mostUndo bounds the list that is kept for the next Update.
const mostUndo = 1024

// Get implements [store.Tx].
func (t *tx) Get(key store.Key) (store.Record, error) {
	if t.data == nil {
		return nil, errOver
	}
	v := t.data.find(key)
	if v == nil || v.record == nil {
		return nil, notFound(key)
	}
	return v.record.Clone(), nil
}

// Put implements [store.Tx].
func (t *tx) Put(r store.Record) error {
	if t.data == nil {
		return errOver
	}
	if !storable(r) {
		return fmt.Errorf("memstore: a %T is no record of a store", r)
	}
	t.write(r.Key(), r.Clone())
	return nil
}

// Delete implements [store.Tx].
func (t *tx) Delete(key store.Key) error {
	if t.data == nil {
		return errOver
	}
	if v := t.data.find(key); v != nil && v.record != nil {
		t.write(key, nil)
	}
	return nil
}

func (t *tx) write(key store.Key, r store.Record) {
	row, was := t.data.put(key, r)
	t.undo = append(t.undo, change{row, was})
}

// storable reports whether r is of a type that the store knows where to keep.
func storable(r store.Record) bool {
	switch r.(type) {
	case *store.Pool, *store.Instance, *store.Sharing, *store.Mirrors, *store.Container, *store.Session, *store.Task,
		*store.Lease, *store.User, *store.Usage, *store.Ledger, *store.Warmth, *store.Demand:
		return true
	}
	return false
}

// notFound is ErrNotFound with the key. It formats its message only when the message is read, since reads of absent records are
// common.
type notFound store.Key

func (e notFound) Error() string { return store.ErrNotFound.Error() + ": " + store.Key(e).String() }

func (notFound) Unwrap() error { return store.ErrNotFound }
