package sqlitestore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/internal/rows"
)

// writer is the one connection that writes. It is the [rows.Backend] of the store.
type writer struct {
	file    *file
	foreign func() // another process has committed something

	mu      sync.Mutex // held from Begin to the end of the transaction, and while it is asked for the version
	c       *conn      // nil: it must be opened; guarded by mu
	version int64      // PRAGMA data_version as of the last look: it changes with the commits of others; guarded by mu
	closed  bool       // guarded by mu
	commits int        // guarded by mu

	many chan struct{} // capacity 1: gets a value after each logEvery commits
}

var _ rows.Backend = (*writer)(nil)

// pragmas of the connection that writes. A checkpoint writes the pages of many commits to the file at a time.
var writerPragmas = []string{
	busyTimeout, "PRAGMA synchronous = FULL", "PRAGMA cache_size = -65536", "PRAGMA temp_store = MEMORY",
	"PRAGMA wal_autocheckpoint = 16000", "PRAGMA journal_size_limit = 67108864",
}

// busyTimeout is how long one try waits for another process, in milliseconds.
const busyTimeout = "PRAGMA busy_timeout = 2000"

// connect opens the connection if there is none.
func (w *writer) connect() error {
	if w.c != nil {
		return nil
	}
	c, err := w.file.open(writerPragmas...)
	if err != nil {
		return err
	}
	w.c = c
	return nil
}

// Begin implements [rows.Backend].
func (w *writer) Begin(ctx context.Context, keys []store.Key, got func(store.Key, []byte)) (rows.Txn, error) {
	w.mu.Lock()
	err := w.connect()
	if err == nil {
		if err = w.c.exec(ctx, "BEGIN IMMEDIATE"); err == nil {
			w.look()
			err = w.fetch(keys, got)
		}
	}
	if err != nil {
		w.end()
		w.mu.Unlock()
		busy := primary(err) == sqlite3.SQLITE_BUSY
		if err = w.file.explain(err); busy {
			err = rows.Again(err)
		}
		return nil, err
	}
	return (*txn)(w), nil
}

// end ends a transaction that was not committed. If that is not possible, the next one gets another connection.
func (w *writer) end() {
	if w.c == nil {
		return
	}
	err := w.c.exec(context.Background(), "ROLLBACK")
	if err != nil && code(err) != sqlite3.SQLITE_ERROR { // that one says that there is no transaction any more
		w.c.close()
		w.c = nil
	}
}

// look finds out whether others have committed since the last time.
func (w *writer) look() {
	version, err := w.c.number("PRAGMA data_version")
	if err != nil || version != w.version {
		w.version = version
		w.foreign()
	}
}

// poll calls look, unless this process is writing: a transaction begins with look anyway.
func (w *writer) poll() {
	if !w.mu.TryLock() {
		return
	}
	defer w.mu.Unlock()
	if !w.closed && w.c != nil {
		w.look()
	}
}

func (w *writer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.c != nil {
		w.c.close()
		w.c = nil
	}
}

// fetchSizes are the numbers of keys that one statement fetches, so that few statements serve any number.
var fetchSizes = []int{64, 16, 4, 1}

var fetchSQL = func() map[int]string {
	texts := map[int]string{}
	for _, n := range fetchSizes {
		texts[n] = "SELECT r.kind, r.id, r.body FROM (VALUES " + placeholders(n, 2) + ") v " +
			"CROSS JOIN records r ON r.kind = v.column1 AND r.id = v.column2"
	}
	return texts
}()

func (w *writer) fetch(keys []store.Key, got func(store.Key, []byte)) error {
	row := func(v []driver.Value) error {
		kind, _ := v[0].(int64)
		got(store.Key{Kind: store.Kind(kind), ID: text(v[1])}, []byte(text(v[2])))
		return nil
	}
	for _, size := range fetchSizes {
		for len(keys) >= size {
			args := make([]any, 0, 2*size)
			for _, key := range keys[:size] {
				args = append(args, int64(key.Kind), key.ID)
			}
			keys = keys[size:]
			if err := w.c.query(context.Background(), fetchSQL[size], args, row); err != nil {
				return err
			}
		}
	}
	return nil
}

func text(v driver.Value) string {
	s, _ := v.(string)
	return s
}

// txn is a transaction of the writer.
type txn writer

// Fetch implements [rows.Txn]. No one else writes during the transaction, so there is nothing to lock.
func (t *txn) Fetch(key store.Key) (body []byte, err error) {
	err = (*writer)(t).fetch([]store.Key{key}, func(_ store.Key, b []byte) { body = b })
	return body, t.file.explain(err)
}

// Rollback implements [rows.Txn].
func (t *txn) Rollback() {
	(*writer)(t).end()
	t.mu.Unlock()
}

// Commit implements [rows.Txn].
func (t *txn) Commit(puts []rows.Row, deletes []store.Key) error {
	w := (*writer)(t)
	defer w.mu.Unlock()
	if err := w.write(puts, deletes); err != nil {
		w.end()
		return w.file.explain(err)
	}
	err := w.c.exec(context.Background(), "COMMIT")
	if err == nil {
		w.count()
		return nil
	}
	w.end()
	switch primary(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY:
		return w.file.explain(err) // the log holds no commit
	case sqlite3.SQLITE_BUSY:
		return rows.Again(w.file.explain(err))
	}
	// The log may hold it or not: that is seen when it is next read from the start.
	if w.c != nil {
		w.c.close()
		w.c = nil
	}
	return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, w.file.explain(err))
}

// count counts a commit.
func (w *writer) count() {
	if w.commits++; w.commits%logEvery == 0 {
		select {
		case w.many <- struct{}{}:
		default:
		}
	}
}

var (
	insertSQL = "INSERT INTO records (kind, id, body, ended, " + strings.Join(rows.Names, ", ") + ") VALUES " + placeholders(1, 4+len(rows.Names))
	deleteSQL = "DELETE FROM records WHERE kind = ? AND id = ?"
)

func (w *writer) write(puts []rows.Row, deletes []store.Key) error {
	var args []any
	for i := range puts {
		row := &puts[i]
		sql := insertSQL
		if row.Was == nil {
			args = append(append(args[:0], int64(row.Key.Kind), row.Key.ID, string(row.Body), row.Ended()), row.Values()...)
		} else {
			sql, args = update(row, args[:0])
		}
		if err := w.c.exec(context.Background(), sql, args...); err != nil {
			return err
		}
	}
	for _, key := range deletes {
		if err := w.c.exec(context.Background(), deleteSQL, int64(key.Kind), key.ID); err != nil {
			return err
		}
	}
	return nil
}

// update returns the statement that changes a row: only columns that differ, so that no index is written in vain.
func update(row *rows.Row, args []any) (string, []any) {
	args = append(args, string(row.Body))
	if row.Columns == *row.Was {
		return "UPDATE records SET body = ? WHERE kind = ? AND id = ?", append(args, int64(row.Key.Kind), row.Key.ID)
	}
	var sql strings.Builder
	sql.WriteString("UPDATE records SET body = ?")
	now, was := row.Values(), row.Was.Values()
	for i, name := range rows.Names {
		if now[i] != was[i] {
			sql.WriteString(", " + name + " = ?")
			args = append(args, now[i])
		}
	}
	if ended := row.Ended(); ended != row.Was.Ended() {
		sql.WriteString(", ended = ?")
		args = append(args, ended)
	}
	sql.WriteString(" WHERE kind = ? AND id = ?")
	return sql.String(), append(args, int64(row.Key.Kind), row.Key.ID)
}
