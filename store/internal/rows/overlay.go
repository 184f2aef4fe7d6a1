package rows

import (
	"errors"
	"fmt"

	"github.com/berth-go/berth/store"
)

// stop is the value with which a Tx panics to end a function that cannot continue: a key is not locked, or cannot be read.
type stop struct{}

// known is a record as a batch has it.
type known struct {
	body    []byte       // as it was fetched; nil: it was absent
	record  store.Record // as the last function left it; nil: absent, or not yet decoded
	unknown Unknown      // of the body, as long as the record goes back to it
	decoded bool
	written bool
	was     Columns // of the body
}

// get returns the record, which is not the caller's own.
func (k *known) get(key store.Key) (store.Record, error) {
	if k.decoded {
		return k.record, nil
	}
	if k.body != nil {
		r, unknown, err := Decode(key, k.body)
		if err != nil {
			return nil, err
		}
		k.record, k.unknown, k.was = r, unknown, ColumnsOf(r)
	}
	k.decoded = true
	return k.record, nil
}

// change is the write of one function to a record.
type change struct {
	record store.Record // nil: deleted
	fresh  bool         // it was deleted before it was put
}

// overlay has the writes of one run of an Update's function. They lie over the records of the batch.
type overlay struct {
	batch   *batch // nil when the function has returned
	changes map[store.Key]change
	order   []store.Key // of changes, so that nothing depends on a map's order
	// Set when the function was stopped.
	stopped bool
	beyond  store.Key // the key that must be locked, if err is nil
	err     error     // why the whole batch has failed
}

var _ store.Tx = (*overlay)(nil)

// halt ends the function, even if the function ignores the error.
func (o *overlay) halt(key store.Key, err error) {
	if !o.stopped {
		o.stopped, o.beyond, o.err = true, key, err
	}
	panic(stop{})
}

// base returns the batch's version of a record. It fetches the record if it may.
func (o *overlay) base(key store.Key) *known {
	if o.stopped {
		panic(stop{})
	}
	if k := o.batch.records[key]; k != nil {
		return k
	}
	if checkKey(key) != nil {
		return &known{decoded: true} // no such record can exist, as Encode refuses it
	}
	body, err := o.batch.txn.Fetch(key)
	switch {
	case errors.Is(err, ErrBeyond):
		o.halt(key, nil)
	case err != nil:
		o.halt(key, err)
	}
	k := &known{body: body}
	o.batch.records[key] = k
	return k
}

// now returns the record as the function sees it, not its own.
func (o *overlay) now(key store.Key) (store.Record, error) {
	if c, ok := o.changes[key]; ok {
		return c.record, nil
	}
	return o.base(key).get(key)
}

// Get implements [store.Tx].
func (o *overlay) Get(key store.Key) (store.Record, error) {
	if o.batch == nil {
		return nil, errOver
	}
	r, err := o.now(key)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return nil, notFound(key)
	}
	return r.Clone(), nil
}

// Put implements [store.Tx].
func (o *overlay) Put(r store.Record) error {
	if o.batch == nil {
		return errOver
	}
	if !Storable(r) {
		return fmt.Errorf("store: a %T is no record of a store", r)
	}
	key := r.Key()
	if err := checkKey(key); err != nil {
		return err
	}
	if _, err := o.now(key); err != nil { // it holds members that would be lost
		return err
	}
	c, ok := o.changes[key]
	o.set(key, change{r.Clone(), ok && (c.fresh || c.record == nil)})
	return nil
}

// Delete implements [store.Tx].
func (o *overlay) Delete(key store.Key) error {
	if o.batch == nil {
		return errOver
	}
	r, err := o.now(key)
	if r != nil || err != nil { // one that cannot be read can be deleted
		o.set(key, change{})
	}
	return nil
}

func (o *overlay) set(key store.Key, c change) {
	if _, ok := o.changes[key]; !ok {
		o.order = append(o.order, key)
	}
	if o.changes == nil {
		o.changes = map[store.Key]change{}
	}
	o.changes[key] = c
}

// lay applies the changes to the batch's records, for the next function to see.
func (o *overlay) lay() {
	for _, key := range o.order {
		c, k := o.changes[key], o.batch.records[key]
		if c.fresh || c.record == nil {
			k.unknown = nil
		}
		if !k.written {
			o.batch.written = append(o.batch.written, key)
		}
		k.record, k.decoded, k.written = c.record, true, true
	}
}
