package store

import (
	"context"
	"errors"
)

// Named returns a Store that gives the store's own failures a name: View and Update return name(err) for them. Errors of the
// functions that it runs, the end of the caller's context and ErrClosed are as they were. An error that a function returns
// is the store's own if it wraps the error of one of the function's reads, other than ErrNotFound. Closing it closes st.
func Named(st Store, name func(error) error) Store { return &named{st, name} }

type named struct {
	Store
	name func(error) error
}

// Unwrap returns the Store whose failures get a name: see Watch.
func (n *named) Unwrap() Store { return n.Store }

// View implements Store.
func (n *named) View(ctx context.Context, fn func(View) error) error {
	var last run
	err := n.Store.View(ctx, func(v View) error {
		last = run{}
		last.own = fn(&namedView{v, &last})
		return last.own
	})
	return n.rename(ctx, err, last)
}

// Update implements Store.
func (n *named) Update(ctx context.Context, keys []Key, fn func(Tx) error) error {
	var last run
	err := n.Store.Update(ctx, keys, func(tx Tx) error {
		last = run{}
		last.own = fn(&namedTx{tx, &last})
		return last.own
	})
	return n.rename(ctx, err, last)
}

func (n *named) rename(ctx context.Context, err error, last run) error {
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, ErrClosed):
		return err
	case last.own != nil && (last.failed == nil || !errors.Is(err, last.failed)):
		return err
	}
	return n.name(err)
}

// run describes one run of a function.
type run struct {
	own    error // the error that it returned
	failed error // the last error of a read
}

// note keeps a failure of the store, and returns it.
func (r *run) note(err error) error {
	if err != nil && !errors.Is(err, ErrNotFound) {
		r.failed = err
	}
	return err
}

type namedView struct {
	View
	run *run
}

// Get implements View.
func (v *namedView) Get(k Key) (Record, error) {
	r, err := v.View.Get(k)
	return r, v.run.note(err)
}

// Instances implements View.
func (v *namedView) Instances(q InstanceQuery) ([]*Instance, error) {
	all, err := v.View.Instances(q)
	return all, v.run.note(err)
}

// Containers implements View.
func (v *namedView) Containers(q ContainerQuery) ([]*Container, error) {
	all, err := v.View.Containers(q)
	return all, v.run.note(err)
}

// Sessions implements View.
func (v *namedView) Sessions(q SessionQuery) ([]*Session, error) {
	all, err := v.View.Sessions(q)
	return all, v.run.note(err)
}

// Usage implements View.
func (v *namedView) Usage(q UsageQuery) ([]*Usage, error) {
	all, err := v.View.Usage(q)
	return all, v.run.note(err)
}

type namedTx struct {
	Tx
	run *run
}

// Get implements Tx.
func (tx *namedTx) Get(k Key) (Record, error) {
	r, err := tx.Tx.Get(k)
	return r, tx.run.note(err)
}
