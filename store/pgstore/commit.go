package pgstore

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/internal/pause"
	"github.com/berth-go/berth/store/internal/rows"
)

const (
	// lockTimeout is how long a batch waits for the locks of others before it is tried again. It is longer than a
	// process that stands still may hold them.
	lockTimeout = 20 * time.Second
	// answerTimeout bounds every other wait for the server: then the connection is given up.
	answerTimeout = 20 * time.Second
	// patience is how long calls wait for a server that cannot be reached.
	patience = 10 * time.Second
)

// hashOf returns the number of an advisory lock.
func hashOf(schema, what string) int64 {
	h := fnv.New64a()
	h.Write([]byte("berth\x00" + schema + "\x00" + what))
	return int64(h.Sum64())
}

func (s *Store) lockOf(key store.Key) int64 {
	return hashOf(s.opts.Schema, strconv.Itoa(int(key.Kind))+"/"+key.ID)
}

// backend is the rows.Backend of a Store.
type backend struct{ *Store }

// Begin implements [rows.Backend]. It waits for a server that cannot be reached.
func (b backend) Begin(ctx context.Context, keys []store.Key, got func(store.Key, []byte)) (rows.Txn, error) {
	var found []rows.Row
	conn, err := b.patiently(ctx, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		found, err = b.lockAndFetch(ctx, conn, keys)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, r := range found {
		got(r.Key, r.Body)
	}
	return &txn{Store: b.Store, conn: conn}, nil
}

// patiently runs the beginning of a transaction until it succeeds, fails for good, or the server was away for long.
func (s *Store) patiently(ctx context.Context, begin func(context.Context, *pgxpool.Conn) error) (*pgxpool.Conn, error) {
	deadline := time.Now().Add(patience)
	for next := 10 * time.Millisecond; ; next = min(2*next, 500*time.Millisecond) {
		conn, err := s.acquire(ctx)
		if err == nil {
			if err = begin(ctx, conn); err == nil {
				return conn, nil
			}
			discard(conn)
		}
		sort := sortOf(err)
		err = explain("beginning a transaction", err)
		switch {
		case ctx.Err() != nil:
			return nil, s.closedOr(fmt.Errorf("%w (%w)", ctx.Err(), err))
		case sort == conflict:
			return nil, rows.Again(err)
		case sort == lasting || time.Now().After(deadline):
			return nil, s.closedOr(err)
		}
		if pause.Sleep(ctx, next) != nil {
			return nil, s.closedOr(ctx.Err())
		}
	}
}

// acquire takes a connection from the pool.
func (s *Store) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	if s.ctx.Err() != nil {
		return nil, store.ErrClosed
	}
	return s.pool.Acquire(ctx)
}

// discard gives back a connection that is in no good state: the pool makes another.
func discard(conn *pgxpool.Conn) {
	if conn.Conn().PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Conn().Close(ctx)
	}
	conn.Release()
}

// lockAndFetch begins a transaction, locks the keys and reads their records, in one round trip.
func (s *Store) lockAndFetch(ctx context.Context, conn *pgxpool.Conn, keys []store.Key) (found []rows.Row, err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout+answerTimeout)
	defer cancel()
	locks := make([]int64, len(keys))
	for i, key := range keys {
		locks[i] = s.lockOf(key)
	}
	slices.Sort(locks)
	kinds, ids := split(keys)
	var batch pgx.Batch
	batch.Queue(stmtBegin)
	batch.Queue(stmtLock, slices.Compact(locks))
	batch.Queue(stmtFetch, kinds, ids)
	results := conn.SendBatch(ctx, &batch)
	defer func() {
		if closing := results.Close(); err == nil {
			err = closing
		}
	}()
	for range 2 {
		if _, err := results.Exec(); err != nil {
			return nil, err
		}
	}
	fetched, err := results.Query()
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(fetched, func(row pgx.CollectableRow) (r rows.Row, err error) {
		err = row.Scan(&r.Key.Kind, &r.Key.ID, &r.Body)
		return r, err
	})
}

// split returns the columns of keys.
func split(keys []store.Key) (kinds []int16, ids []string) {
	kinds, ids = make([]int16, len(keys)), make([]string, len(keys))
	for i, key := range keys {
		kinds[i], ids[i] = int16(key.Kind), key.ID
	}
	return kinds, ids
}

// txn is a transaction whose keys are locked.
type txn struct {
	*Store
	conn    *pgxpool.Conn
	fetched int // how often Fetch has asked
}

// mostFetches bounds the round trips that the functions of a batch may cost while its records are locked.
const mostFetches = 16

// Fetch implements [rows.Txn]. It takes a lock only if the lock is free: to wait for one now would be out of order. Without
// that, a function that makes a new ID in every run could not succeed.
func (t *txn) Fetch(key store.Key) (body []byte, err error) {
	if t.fetched++; t.fetched > mostFetches {
		return nil, rows.ErrBeyond
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	var locked bool
	var batch pgx.Batch
	batch.Queue(stmtTry, t.lockOf(key)).QueryRow(func(row pgx.Row) error { return row.Scan(&locked) })
	batch.Queue(stmtGet, int16(key.Kind), key.ID).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&body)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	err = t.conn.SendBatch(ctx, &batch).Close()
	switch {
	case err != nil && sortOf(err) != lasting:
		return nil, rows.Again(explain("reading "+key.String(), err))
	case err != nil:
		return nil, explain("reading "+key.String(), err)
	case !locked:
		return nil, rows.ErrBeyond
	}
	return body, nil
}

// Rollback implements [rows.Txn].
func (t *txn) Rollback() {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	_, _ = t.conn.Exec(ctx, "ROLLBACK")
	discard(t.conn)
}

// Commit implements [rows.Txn]. All of it is one round trip.
func (t *txn) Commit(puts []rows.Row, deletes []store.Key) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	defer discard(t.conn)
	written := deletes
	var batch pgx.Batch
	if len(puts) > 0 {
		batch.Queue(stmtPut, columns(puts)...)
		written = slices.Clone(deletes)
		for _, r := range puts {
			written = append(written, r.Key)
		}
	}
	if len(deletes) > 0 {
		kinds, ids := split(deletes)
		batch.Queue(stmtDelete, kinds, ids)
	}
	batch.Queue(stmtNotify, channel(t.opts.Schema), payloads(t.self, written))
	batch.Queue(stmtCommit)
	results := t.conn.SendBatch(ctx, &batch)
	defer results.Close()
	last := batch.Len() - 1
	for i := range batch.Len() {
		tag, err := results.Exec()
		if err == nil && i == last && tag.String() != "COMMIT" {
			err = fmt.Errorf("the server answered COMMIT with %s", tag)
			return explain("committing", err)
		}
		if err != nil {
			return outcome(err, i == last)
		}
	}
	return nil
}

// outcome says what an error means that came while the answers to the writes and the COMMIT were read. Both were sent together. If
// the server has refused a write, it has not run the COMMIT. If it does not answer, it may have run the COMMIT.
func outcome(err error, commit bool) error {
	code := state(err)
	switch {
	case code == "" && pgconn.SafeToRetry(err):
		return rows.Again(explain("committing", err))
	case code == "", commit && fatal(err):
		return fmt.Errorf("pgstore: %w: %w", store.ErrUnknownOutcome, err)
	case sortOf(err) != lasting:
		return rows.Again(explain("committing", err))
	}
	return explain("writing", err)
}

// columns returns the arguments of stmtPut: an array per column.
func columns(puts []rows.Row) []any {
	n := len(puts)
	kinds, ids, bodies := make([]int16, n), make([]string, n), make([]string, n)
	texts := make([][]*string, 7)
	for i := range texts {
		texts[i] = make([]*string, n)
	}
	room, queued := make([]*int64, n), make([]*bool, n)
	lease, ended := make([]*int64, n), make([]*int64, n)
	for i := range puts {
		r := &puts[i]
		c := &r.Columns
		kinds[i], ids[i], bodies[i] = int16(r.Key.Kind), r.Key.ID, string(r.Body)
		for j, text := range []*string{&c.State, &c.Task, &c.User, &c.Repository, &c.Container, &c.Instance, &c.Owner} {
			if *text != "" || j == 0 && c.HasState {
				texts[j][i] = text
			}
		}
		if c.HasRoom {
			room[i] = &c.Room
		}
		if c.Queued {
			queued[i] = &c.Queued
		}
		if c.HasLease {
			lease[i] = &c.LeaseUntil
		}
		if c.HasEnded {
			ended[i] = &c.EndedAt
		}
	}
	args := []any{kinds, ids, bodies}
	for _, text := range texts {
		args = append(args, text)
	}
	return append(args, room, queued, lease, ended)
}
