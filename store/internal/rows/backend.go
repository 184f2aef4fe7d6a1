package rows

import (
	"context"
	"errors"

	"github.com/berth-go/berth/store"
)

// A Backend is a database for a [Batcher].
type Backend interface {
	// Begin begins a transaction. During the transaction no other one changes or makes the records of keys. Begin calls got
	// with the body of each record that exists. keys are in the order of [store.Key.Compare], without duplicates. After an
	// error no transaction has begun. ctx ends when the Batcher is closed for good.
	Begin(ctx context.Context, keys []store.Key, got func(key store.Key, body []byte)) (Txn, error)
}

// Txn is a transaction of a Backend. Commit or Rollback ends it.
type Txn interface {
	// Fetch returns the body of one more record, or nil if there is none. ErrBeyond says that the key must be among the keys of
	// a Begin.
	Fetch(key store.Key) ([]byte, error)
	// Commit writes and commits. puts and deletes are in the order of their keys. After ErrUnknownOutcome all writes may have
	// happened; after any other error none has.
	Commit(puts []Row, deletes []store.Key) error
	// Rollback ends the transaction without effect.
	Rollback()
}

// ErrBeyond says that a record can no longer be locked in this transaction.
var ErrBeyond = errors.New("rows: the key was not among those of this transaction")

// Row is a record to be written.
type Row struct {
	Key  store.Key
	Body []byte
	Columns
	Was *Columns // the columns in the table; nil = the table has no row of that key
}
