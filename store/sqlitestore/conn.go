package sqlitestore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"

	"modernc.org/sqlite"
)

// file is the database.
type file struct {
	path string
	name string // for the driver, without its settings
}

func newFile(path string) *file {
	return &file{path, (&url.URL{Scheme: "file", OmitHost: true, Path: path}).String()}
}

// settings of every connection: errors that say what happened and no more, and no SQL that could damage the file.
const settings = "?mode=rw&_error_rc=1&_defensive=1"

// conn is one connection, for one goroutine at a time. It keeps the statements that it has prepared. It uses the
// driver's own interface and not that of database/sql: all writes use the same connection, and reads need a snapshot.
type conn struct {
	c          driver.Conn
	statements map[string]driver.Stmt
}

// mostStatements bounds the prepared statements of a connection. berth has fewer queries.
const mostStatements = 200

var opener sqlite.Driver

// open returns a new connection with those settings.
func (f *file) open(pragmas ...string) (*conn, error) {
	c, err := opener.Open(f.name + settings)
	if err != nil {
		return nil, err
	}
	n := &conn{c, map[string]driver.Stmt{}}
	for _, p := range pragmas {
		if err := n.once(p); err != nil {
			n.close()
			return nil, err
		}
	}
	return n, nil
}

func (c *conn) close() {
	for _, s := range c.statements {
		_ = s.Close()
	}
	_ = c.c.Close()
}

// once runs a statement that is not kept.
func (c *conn) once(sql string) error {
	s, err := c.c.Prepare(sql)
	if err != nil {
		return err
	}
	_, err = s.(driver.StmtExecContext).ExecContext(context.Background(), nil)
	return errors.Join(err, s.Close())
}

func (c *conn) prepare(sql string) (driver.Stmt, error) {
	if s := c.statements[sql]; s != nil {
		return s, nil
	}
	if len(c.statements) >= mostStatements {
		for text, s := range c.statements {
			_ = s.Close()
			delete(c.statements, text)
			break
		}
	}
	s, err := c.c.Prepare(sql)
	if err == nil {
		c.statements[sql] = s
	}
	return s, err
}

// named is a list of arguments for the driver. They are made for each call, and many.
var named = sync.Pool{New: func() any { return new([]driver.NamedValue) }}

func withArgs(args []any, call func([]driver.NamedValue) error) error {
	list := named.Get().(*[]driver.NamedValue)
	for i, v := range args {
		*list = append(*list, driver.NamedValue{Ordinal: i + 1, Value: value(v)})
	}
	err := call(*list)
	clear(*list)
	*list = (*list)[:0]
	named.Put(list)
	return err
}

func value(v any) driver.Value {
	switch v := v.(type) {
	case int:
		return int64(v)
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	}
	return v
}

// exec runs a statement.
func (c *conn) exec(ctx context.Context, sql string, args ...any) error {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	return withArgs(args, func(list []driver.NamedValue) error {
		_, err := s.(driver.StmtExecContext).ExecContext(ctx, list)
		return err
	})
}

// query runs a statement and calls row with each of its rows, which is valid until row returns.
func (c *conn) query(ctx context.Context, sql string, args []any, row func([]driver.Value) error) error {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	return withArgs(args, func(list []driver.NamedValue) error {
		rows, err := s.(driver.StmtQueryContext).QueryContext(ctx, list)
		if err != nil {
			return err
		}
		values := make([]driver.Value, len(rows.Columns()))
		for {
			err := rows.Next(values)
			if err == nil {
				err = row(values)
			}
			if err == nil {
				continue
			}
			closeErr := rows.Close()
			if errors.Is(err, io.EOF) {
				return closeErr
			}
			return err
		}
	})
}

// number returns the one number that a query gives.
func (c *conn) number(sql string) (n int64, err error) {
	err = c.query(context.Background(), sql, nil, func(row []driver.Value) error {
		var ok bool
		if n, ok = row[0].(int64); !ok {
			return fmt.Errorf("%s gave %v", sql, row[0])
		}
		return nil
	})
	return n, err
}

// text returns the one text that a query gives.
func (c *conn) text(sql string) (s string, err error) {
	err = c.query(context.Background(), sql, nil, func(row []driver.Value) error {
		s, _ = row[0].(string)
		return nil
	})
	return s, err
}

// placeholders returns "(?,?),(?,?)" for two rows of two.
func placeholders(rows, columns int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	return strings.TrimSuffix(strings.Repeat(row+",", rows), ",")
}
