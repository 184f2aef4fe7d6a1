package sqlitestore

import (
	"context"
	"database/sql/driver"
	"io"
	"testing"
	"time"
)

// tape has the statements of the connection that writes.
type tape struct {
	calls   []call
	commits int
}

type call struct {
	sql   string
	args  []driver.NamedValue
	query bool
}

// record runs pairs, and returns the connection's statements.
func record(b *testing.B, base string, n int) *tape {
	s := openCopy(b, base)
	t := new(tape)
	s.writer.mu.Lock()
	s.writer.c.c = recorded{s.writer.c.c, t}
	s.writer.mu.Unlock()
	pairs(b, s, n)
	return t
}

// replay does the same to another copy.
func replay(b *testing.B, base string, t *tape) time.Duration {
	s := openCopy(b, base)
	c := s.writer.c.c
	prepared := map[string]driver.Stmt{}
	began := time.Now()
	for i := range t.calls {
		k := &t.calls[i]
		stmt := prepared[k.sql]
		if stmt == nil {
			var err error
			if stmt, err = c.Prepare(k.sql); err != nil {
				b.Fatal(err)
			}
			prepared[k.sql] = stmt
		}
		if !k.query {
			if _, err := stmt.(driver.StmtExecContext).ExecContext(context.Background(), k.args); err != nil {
				b.Fatalf("%s: %v", k.sql, err)
			}
			continue
		}
		rows, err := stmt.(driver.StmtQueryContext).QueryContext(context.Background(), k.args)
		if err != nil {
			b.Fatalf("%s: %v", k.sql, err)
		}
		values := make([]driver.Value, len(rows.Columns()))
		for err == nil {
			err = rows.Next(values)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
		rows.Close()
	}
	took := time.Since(began)
	for _, stmt := range prepared {
		stmt.Close()
	}
	return took
}

type recorded struct {
	driver.Conn
	tape *tape
}

func (c recorded) Prepare(sql string) (driver.Stmt, error) {
	s, err := c.Conn.Prepare(sql)
	return recordedStmt{s, sql, c.tape}, err
}

type recordedStmt struct {
	driver.Stmt
	sql  string
	tape *tape
}

func (s recordedStmt) note(args []driver.NamedValue, query bool) {
	s.tape.calls = append(s.tape.calls, call{s.sql, append([]driver.NamedValue(nil), args...), query})
	if s.sql == "COMMIT" {
		s.tape.commits++
	}
}

func (s recordedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.note(args, false)
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s recordedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.note(args, true)
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}
