package sqlitestore

import (
	"context"
	"database/sql/driver"
	"sync"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/internal/rows"
)

const (
	// mostViews bounds the Views that run at a time; more wait.
	mostViews = 64
	// idleReaders bounds the connections that wait for a View.
	idleReaders = 8
)

var readerPragmas = []string{busyTimeout, "PRAGMA query_only = ON", "PRAGMA cache_size = -8192", "PRAGMA temp_store = MEMORY"}

// readers are the connections that read.
type readers struct {
	file *file
	room chan struct{} // has a value for each View that runs

	mu     sync.Mutex
	idle   []*conn // guarded by mu
	closed bool    // guarded by mu
}

// take returns a connection, when there is room for one more View.
func (r *readers) take(ctx context.Context) (*conn, error) {
	select {
	case r.room <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		<-r.room
		return nil, store.ErrClosed
	}
	if n := len(r.idle); n > 0 {
		c := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.mu.Unlock()
		return c, nil
	}
	r.mu.Unlock()
	c, err := r.file.open(readerPragmas...)
	if err != nil {
		<-r.room
		return nil, r.file.explain(err)
	}
	return c, nil
}

// give takes a connection back.
func (r *readers) give(c *conn, broken bool) {
	r.mu.Lock()
	keep := !broken && !r.closed && len(r.idle) < idleReaders
	if keep {
		r.idle = append(r.idle, c)
	}
	r.mu.Unlock()
	if !keep {
		c.close()
	}
	<-r.room
}

func (r *readers) close() {
	r.mu.Lock()
	idle := r.idle
	r.idle, r.closed = nil, true
	r.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// view runs fn on a snapshot.
func (r *readers) view(ctx context.Context, fn func(store.View) error) error {
	c, err := r.take(ctx)
	if err != nil {
		return err
	}
	broken := true // also when fn panics, or leaves by runtime.Goexit as t.FailNow does
	defer func() {
		if c.exec(context.Background(), "ROLLBACK") != nil {
			broken = true
		}
		r.give(c, broken)
	}()
	// The snapshot is that of the first read.
	if err = c.exec(context.Background(), "BEGIN"); err == nil {
		_, err = c.number("SELECT count(*) FROM (SELECT 1 FROM records LIMIT 1)")
	}
	if err != nil {
		return r.file.explain(err)
	}
	broken = false
	v := rows.NewView(ctx, source{r.file, c})
	defer v.Close()
	return fn(v)
}

// source is the [rows.Source] of one snapshot.
type source struct {
	file *file
	c    *conn
}

var (
	_ rows.Source = source{}
	_ rows.Coarse = source{}
)

// Get implements [rows.Source].
func (s source) Get(ctx context.Context, key store.Key) (body []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = s.c.query(context.Background(), "SELECT body FROM records WHERE kind = ? AND id = ?", []any{int64(key.Kind), key.ID},
		func(v []driver.Value) error {
			body = []byte(text(v[0]))
			return nil
		})
	return body, s.file.explain(err)
}

// Select implements [rows.Source].
func (s source) Select(ctx context.Context, sql string, args []any, row func(id string, body []byte) error) error {
	var own error
	err := s.c.query(ctx, sql, args, func(v []driver.Value) error {
		own = row(text(v[0]), []byte(text(v[1])))
		return own
	})
	if own != nil || ctx.Err() != nil {
		return err
	}
	return s.file.explain(err)
}

// From implements [rows.Source]. The query names its index, because SQLite does not know how many records there are.
func (source) From(index string) string { return fromIndex(index) }

func fromIndex(index string) string {
	if index == "" {
		index = "sqlite_autoindex_records_1" // the primary key
	}
	return "records INDEXED BY " + index
}

// Coarse implements [rows.Coarse].
func (source) Coarse() {}
