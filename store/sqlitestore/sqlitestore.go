package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/internal/rows"
	"github.com/berth-go/berth/store/internal/watch"
)

// Store is a [store.Store] in a SQLite database. Open it with [Open].
type Store struct {
	writer  *writer
	readers *readers
	batcher *rows.Batcher
	watch   watch.Watchers

	watched chan struct{} // has a value when somebody may have begun to watch
	closing chan struct{} // closed by Close
	mostLog int64         // see the constant
	polling sync.WaitGroup
	close   sync.Once
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Watcher = (*Store)(nil)
)

// pollInterval is how often the store looks for the commits of other processes while anybody watches.
const pollInterval = 50 * time.Millisecond

// smallest is the size of the smallest page of a database that is not empty.
const smallest = 512

// opening is held while a file is made, since closing one drops the locks that this process has on it.
var opening sync.Mutex

// Open opens the database of one pool, and makes it if there is none. Errors: ErrForeign, ErrNewerSchema, ErrReadOnly,
// ErrDamaged, and what the system says when the file cannot be made.
func Open(ctx context.Context, path string) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if path == "" || path == ":memory:" {
		return nil, errors.New("sqlitestore: the path of a file is needed; memstore keeps records in memory")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: %w", err)
	}
	if err := create(path); err != nil {
		return nil, fmt.Errorf("sqlitestore: %w", err)
	}
	return open(ctx, newFile(path))
}

// create makes an empty file, which to SQLite is an empty database, if there is none. The files that SQLite makes beside
// it get its mode.
func create(path string) error {
	opening.Lock()
	defer opening.Unlock()
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%s: %w: it is no regular file", path, ErrForeign)
	case err == nil && info.Size() > 0 && info.Size() < smallest: // which SQLite would take for an empty database
		return fmt.Errorf("%s: %w: it is too small for a database", path, ErrForeign)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil // another process was quicker
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func open(ctx context.Context, f *file) (*Store, error) {
	s := &Store{
		readers: &readers{file: f, room: make(chan struct{}, mostViews)},
		watched: make(chan struct{}, 1), closing: make(chan struct{}), mostLog: mostLog,
	}
	s.writer = &writer{file: f, foreign: s.watch.WakeAll, many: make(chan struct{}, 1)}
	err := patiently(ctx, func() error {
		err := s.writer.connect()
		if err == nil {
			err = f.prepare(s.writer.c)
		}
		if err == nil {
			s.writer.version, err = s.writer.c.number("PRAGMA data_version")
		}
		return err
	})
	if err != nil {
		s.writer.close()
		return nil, f.explain(err)
	}
	s.batcher = rows.NewBatcher(s.writer, 1, func(keys []store.Key) {
		if s.watch.Any() {
			for _, key := range keys {
				s.watch.Wake(key)
			}
		}
	})
	s.polling.Go(s.poll)
	return s, nil
}

// View implements [store.Store]. At most 64 run at a time; more wait.
func (s *Store) View(ctx context.Context, fn func(store.View) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.readers.view(ctx, fn)
}

// Update implements [store.Store]. When the disk is full its error is [ErrFull], and nothing was changed.
func (s *Store) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	return s.batcher.Update(ctx, keys, fn)
}

// Notify implements [store.Store]. After Close it returns a channel that has a value: the read that follows returns
// ErrClosed.
func (s *Store) Notify(key store.Key) (wake <-chan struct{}, stop func()) {
	wake, stop = s.watch.Add(key)
	s.watching()
	return wake, stop
}

// Watch implements [store.Watcher]. Which records other processes have touched is not known.
func (s *Store) Watch(touched func(store.Key)) (stop func()) {
	stop = s.watch.AddAll(touched)
	s.watching()
	return stop
}

// watching makes poll look for the commits of other processes.
func (s *Store) watching() {
	select {
	case s.watched <- struct{}{}:
	default:
	}
}

// poll looks for the commits of other processes while anybody watches, and at the log after many commits of this one.
func (s *Store) poll() {
	var next time.Time // when the log is looked at again
	for {
		wait := s.watched
		var tick <-chan time.Time
		if s.watch.Any() {
			wait, tick = nil, time.After(pollInterval)
		}
		select {
		case <-wait:
		case <-tick:
			s.writer.poll()
		case <-s.writer.many:
			if now := time.Now(); !now.Before(next) {
				next = s.shorten(now)
			}
		case <-s.closing:
			return
		}
	}
}

// Close implements [store.Store]. It waits for the Updates that are being committed, and wakes the
// watchers, for no commit will come. A View that runs may go on to its end.
func (s *Store) Close() error {
	s.close.Do(func() {
		close(s.closing)
		s.polling.Wait()
		s.batcher.Close()
		s.readers.close()
		s.writer.close()
		s.watch.Close()
	})
	return nil
}
