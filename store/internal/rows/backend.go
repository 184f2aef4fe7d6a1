package rows

import (
	"context"
	"errors"

	"github.com/berth-go/berth/store"
)

// Backend is a database, as a [Batcher] needs it.
type Backend interface {
	// Begin begins a transaction in which nobody else changes or makes the records of keys, and calls got with the
	// body of each of them that is there. keys are in the order of [store.Key.Compare], and none is twice. After an
	// error nothing has begun. ctx ends when the Batcher is closed for good.
	Begin(ctx context.Context, keys []store.Key, got func(key store.Key, body []byte)) (Txn, error)
}

// Txn is a transaction of a Backend. Commit or Rollback ends it.
type Txn interface {
	// Fetch returns the body of one more record, or nil if there is none. ErrBeyond says that it must be among the
	// keys of a Begin.
	Fetch(key store.Key) ([]byte, error)
	// Commit writes and commits. What it is given is in the order of the keys. After ErrUnknownOutcome all of it may be
	// there, after any other error nothing is.
	Commit(puts []Row, deletes []store.Key) error
	// Rollback ends it without effect.
	Rollback()
}

// ErrBeyond says that a record can no longer be locked in this transaction.
var ErrBeyond = errors.New("rows: the key was not among those of this transaction")

// Row is a record to be written.
type Row struct {
	Key  store.Key
	Body []byte
	Columns
	Was *Columns // as they are in the table; nil: there is no row of that key
}
