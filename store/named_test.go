package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

var (
	errBroken = errors.New("the disk is broken")
	errName   = errors.New("unavailable")
)

// broken is a store whose reads, or whose commits, fail.
type broken struct {
	store.Store
	read, commit error
}

func (b broken) View(ctx context.Context, fn func(store.View) error) error {
	err := b.Store.View(ctx, func(v store.View) error { return fn(brokenView{v, b.read}) })
	if b.commit != nil {
		return b.commit
	}
	return err
}

func (b broken) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	err := b.Store.Update(ctx, keys, func(tx store.Tx) error { return fn(brokenTx{tx, b.read}) })
	if b.commit != nil {
		return b.commit
	}
	return err
}

type brokenView struct {
	store.View
	err error
}

func (v brokenView) Get(store.Key) (store.Record, error) { return nil, v.err }

func (v brokenView) Instances(store.InstanceQuery) ([]*store.Instance, error) { return nil, v.err }

func (v brokenView) Containers(store.ContainerQuery) ([]*store.Container, error) { return nil, v.err }

func (v brokenView) Sessions(store.SessionQuery) ([]*store.Session, error) { return nil, v.err }

func (v brokenView) Usage(store.UsageQuery) ([]*store.Usage, error) { return nil, v.err }

type brokenTx struct {
	store.Tx
	err error
}

func (tx brokenTx) Get(store.Key) (store.Record, error) { return nil, tx.err }

func TestNamedNamesFailuresOfTheStoreAlone(t *testing.T) {
	own := errors.New("the caller's own")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	get := func(g store.Getter) error {
		_, err := g.Get(store.TaskKey("t"))
		return err
	}
	for _, c := range []struct {
		what         string
		ctx          context.Context
		read, commit error
		fn           func(store.Getter) error
		want         error
		named        bool
	}{
		{what: "success", fn: func(store.Getter) error { return nil }},
		{what: "an error of the function", fn: func(store.Getter) error { return own }, want: own},
		{what: "a failed read", read: errBroken, fn: get, want: errBroken, named: true},
		{what: "a failed read that the function wraps", read: errBroken,
			fn: func(g store.Getter) error { return fmt.Errorf("task: %w", get(g)) }, want: errBroken, named: true},
		{what: "a failed read that the function hides", read: errBroken,
			fn: func(g store.Getter) error { get(g); return own }, want: own},
		{what: "an absent record", read: store.ErrNotFound, fn: get, want: store.ErrNotFound},
		{what: "a failed commit", commit: errBroken, fn: func(store.Getter) error { return nil }, want: errBroken, named: true},
		{what: "an unknown outcome", commit: store.ErrUnknownOutcome, fn: func(store.Getter) error { return nil },
			want: store.ErrUnknownOutcome, named: true},
		{what: "a closed store", commit: store.ErrClosed, fn: func(store.Getter) error { return nil }, want: store.ErrClosed},
		{what: "an ended context", ctx: ended, commit: errBroken, fn: func(store.Getter) error { return nil }, want: errBroken},
	} {
		t.Run(c.what, func(t *testing.T) {
			st := store.Named(broken{memstore.New(), c.read, c.commit}, func(err error) error { return fmt.Errorf("%w: %w", errName, err) })
			defer st.Close()
			ctx := c.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			for call, err := range map[string]error{
				"View":   st.View(ctx, func(v store.View) error { return c.fn(v) }),
				"Update": st.Update(ctx, nil, func(tx store.Tx) error { return c.fn(tx) }),
			} {
				if !errors.Is(err, c.want) || errors.Is(err, errName) != c.named {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
}

func TestNamedNamesFailedQueries(t *testing.T) {
	st := store.Named(broken{memstore.New(), errBroken, nil}, func(error) error { return errName })
	for query, fn := range map[string]func(store.View) error{
		"instances":  func(v store.View) error { _, err := v.Instances(store.InstanceQuery{}); return err },
		"containers": func(v store.View) error { _, err := v.Containers(store.ContainerQuery{}); return err },
		"sessions":   func(v store.View) error { _, err := v.Sessions(store.SessionQuery{}); return err },
	} {
		if err := st.View(t.Context(), fn); err != errName {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// rerun runs a function a second time, after a first run whose reads fail.
type rerun struct{ store.Store }

func (r rerun) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	r.Store.Update(ctx, keys, func(tx store.Tx) error { return fn(brokenTx{tx, errBroken}) })
	return r.Store.Update(ctx, keys, fn)
}

func TestNamedLooksAtTheLastRun(t *testing.T) {
	st := store.Named(rerun{memstore.New()}, func(error) error { return errName })
	err := st.Update(t.Context(), nil, func(tx store.Tx) error {
		_, err := tx.Get(store.TaskKey("t"))
		return err
	})
	if !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}
