package store

import "context"

// Fenced returns a Store whose Updates fail with ErrFenced, and change nothing, once the lease held has passed to another
// holder. All other calls go to st.
func Fenced(st Store, held Lease) Store { return &fenced{st, held} }

type fenced struct {
	Store
	held Lease
}

// Update implements Store.
func (f *fenced) Update(ctx context.Context, keys []Key, fn func(Tx) error) error {
	return f.Store.Update(ctx, append(keys[:len(keys):len(keys)], f.held.Key()), func(tx Tx) error {
		if err := CheckFence(tx, f.held); err != nil {
			return err
		}
		return fn(tx)
	})
}
