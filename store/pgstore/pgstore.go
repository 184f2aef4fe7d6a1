package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/internal/rows"
	"github.com/berth-go/berth/store/internal/watch"
)

// Options of a store. The zero value is usable.
type Options struct {
	// Schema is where the records of the pool are: lower-case letters, digits and '_', 40 at most. Default "berth".
	// Pools that share a database have different ones; replicas of one pool have the same.
	Schema string
	// StallTimeout is how long a process that stands still in the midst of an Update may keep others from the same
	// records. Default 3 s: less than a third of the time for
	// which replicas hold their leases, 15 s, so that those that go on keep theirs.
	StallTimeout time.Duration
	// Logger gets what goes wrong in the background: lost connections of the listener. nil = discard.
	Logger *slog.Logger
}

var validSchema = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

func (o Options) withDefaults() (Options, error) {
	o.Schema = cmp.Or(o.Schema, "berth")
	o.StallTimeout = cmp.Or(o.StallTimeout, 3*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if !validSchema.MatchString(o.Schema) {
		return o, fmt.Errorf("pgstore: Options.Schema %q: want lower-case letters, digits and '_', 40 at most", o.Schema)
	}
	if o.StallTimeout < time.Second {
		return o, fmt.Errorf("pgstore: Options.StallTimeout %v: want at least 1 s, since an Update takes some time", o.StallTimeout)
	}
	return o, nil
}

// Store is a [store.Store] in PostgreSQL. Make one with [Open].
type Store struct {
	opts    Options
	pool    *pgxpool.Pool
	sql     statements
	updates *rows.Batcher
	views   chan struct{} // has a value for each View that runs; the connections beyond are for Updates
	watch   watch.Watchers
	self    string // tells this store's notifications from those of others

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	listener sync.WaitGroup
	close    sync.Once
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Watcher = (*Store)(nil)
)

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	return s.updates.Update(ctx, keys, fn)
}

// Notify implements [store.Store]. After Close it returns a channel that has a value: the read that follows returns
// ErrClosed.
func (s *Store) Notify(key store.Key) (wake <-chan struct{}, stop func()) { return s.watch.Add(key) }

// Watch implements [store.Watcher].
func (s *Store) Watch(touched func(store.Key)) (stop func()) { return s.watch.AddAll(touched) }

// Close implements [store.Store]. It waits for Updates under way to be answered, and for the functions of Views to
// return.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.cancel()
		s.updates.Close()
		s.watch.Close()
		s.listener.Wait()
		s.pool.Close()
	})
	return nil
}
