package rows

import (
	"context"
	"errors"
	"slices"

	"github.com/berth-go/berth/store"
)

// batch is a number of Updates that share a transaction.
type batch struct {
	txn     Txn
	records map[store.Key]*known
	written []store.Key
}

// outcome is the result of one run of an Update's function.
type outcome struct {
	err    error
	panic  *Panic
	goexit bool
	wrote  bool
	beyond *store.Key // the function was stopped because it needs this key
	failed error      // the function was stopped because a record could not be fetched; the whole batch fails
}

// begin fetches the records that the Updates of a batch have named.
func begin(ctx context.Context, backend Backend, updates []*update) (*batch, error) {
	b := &batch{records: map[store.Key]*known{}}
	for _, u := range updates {
		for _, key := range u.keys {
			b.records[key] = &known{}
		}
	}
	keys := make([]store.Key, 0, len(b.records))
	for key := range b.records {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, store.Key.Compare)
	txn, err := backend.Begin(ctx, keys, func(key store.Key, body []byte) { b.records[key].body = body })
	b.txn = txn
	return b, err
}

// runAll runs the functions one after another, on a goroutine of their own: one may leave it by runtime.Goexit. It
// stops early when the batch has failed.
func (b *batch) runAll(updates []*update) error {
	for next := 0; next < len(updates); {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for next < len(updates) {
				u := updates[next]
				next++
				if u.result = b.run(u); u.result.failed != nil {
					return
				}
			}
		}()
		<-done
		if err := updates[next-1].result.failed; err != nil {
			return err
		}
	}
	return nil
}

// run runs one function, and keeps its writes if it succeeds.
func (b *batch) run(u *update) (result *outcome) {
	result = &outcome{goexit: true}
	u.result = result // in case that it does not return
	o := &overlay{batch: b}
	defer func() {
		o.batch = nil
	}()
	func() {
		defer func() {
			if o.stopped {
				// The function may have made anything of it, but recover is called here for the panic that is ours.
				recover()
				result.goexit = false
				return
			}
			if value := recover(); value != nil {
				result.goexit, result.panic = false, newPanic(value)
			}
		}()
		result.err = u.fn(o)
		result.goexit = false
	}()
	switch {
	case o.err != nil:
		result.failed = o.err
	case o.stopped:
		result.beyond = &o.beyond
	case result.err == nil && result.panic == nil:
		result.wrote = len(o.order) > 0
		o.lay()
	}
	return result
}

// commit writes the records that the functions have left.
func (b *batch) commit() error {
	slices.SortFunc(b.written, store.Key.Compare)
	var puts []Row
	var deletes []store.Key
	for _, key := range b.written {
		k := b.records[key]
		switch {
		case k.record != nil:
			body, err := Encode(k.record, k.unknown)
			if err != nil {
				b.txn.Rollback()
				return err
			}
			row := Row{Key: key, Body: body, Columns: ColumnsOf(k.record)}
			if k.body != nil {
				row.Was = &k.was
			}
			puts = append(puts, row)
		case k.body != nil:
			deletes = append(deletes, key)
		}
	}
	if len(puts)+len(deletes) == 0 {
		b.txn.Rollback()
		return nil
	}
	return b.txn.Commit(puts, deletes)
}

// settle answers each Update of a batch whose commit returned err, or runs it again.
func settle(u *update, err error, together bool) (again bool, answer error) {
	switch {
	case u.result.beyond != nil:
		u.keys = append(u.keys, *u.result.beyond)
		return true, nil
	case err == nil:
		return false, u.result.err
	case !u.result.wrote: // the records that it has seen may not exist
		u.alone = true
		return true, nil
	case errors.Is(err, store.ErrUnknownOutcome):
		return false, err
	case together: // it may be another one's fault
		u.alone = true
		return true, nil
	}
	return false, err
}
