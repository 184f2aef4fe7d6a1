package pgstore

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/internal/rows"
)

// viewTimeout is how long the function of a View may go without asking for anything: the server cannot tidy up behind
// what a View sees.
const viewTimeout = time.Minute

// View implements [store.Store].
func (s *Store) View(ctx context.Context, fn func(store.View) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.views <- struct{}{}:
		defer func() { <-s.views }()
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return store.ErrClosed
	}
	conn, err := s.patiently(ctx, s.snapshot)
	if err != nil {
		return err
	}
	defer s.endView(conn)
	v := rows.NewView(ctx, &source{s, conn})
	defer v.Close()
	return fn(v)
}

// snapshot begins the transaction of a View, which sees the commits until now.
func (s *Store) snapshot(ctx context.Context, conn *pgxpool.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var batch pgx.Batch
	batch.Queue(stmtView)
	batch.Queue(stmtAwake, strconv.FormatInt(viewTimeout.Milliseconds(), 10))
	return conn.SendBatch(ctx, &batch).Close()
}

func (s *Store) endView(conn *pgxpool.Conn) {
	if !conn.Conn().IsClosed() {
		ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
		defer cancel()
		_, _ = conn.Exec(ctx, "COMMIT")
	}
	discard(conn)
}

// source reads in the transaction of a View.
type source struct {
	store *Store
	conn  *pgxpool.Conn
}

// Get implements [rows.Source].
func (r *source) Get(ctx context.Context, key store.Key) (body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err = r.conn.QueryRow(ctx, stmtGet, int16(key.Kind), key.ID).Scan(&body)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return body, explain("reading "+key.String(), err)
}

// Select implements [rows.Source].
func (r *source) Select(ctx context.Context, sql string, args []any, row func(id string, body []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	found, err := r.conn.Query(ctx, apart(sql), args...)
	if err != nil {
		return explain("reading", err)
	}
	var id string
	var body []byte
	_, err = pgx.ForEachRow(found, []any{&id, &body}, func() error { return row(id, body) })
	return explain("reading", err)
}

// apart puts the ORDER BY and the LIMIT of a query for several states into each of its parts too: PostgreSQL would read
// all of every part otherwise, and sort it.
func apart(sql string) string {
	const union, order = " UNION ALL ", " ORDER BY "
	if !strings.Contains(sql, union) {
		return sql
	}
	parts, end, _ := strings.Cut(sql, order)
	end = order + end
	return "(" + strings.ReplaceAll(parts, union, end+")"+union+"(") + end + ")" + end
}

// From implements [rows.Source]. PostgreSQL chooses the index itself.
func (r *source) From(string) string { return r.store.sql.schema + ".records" }
