package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/berth-go/berth/store/internal/pause"
	"github.com/berth-go/berth/store/internal/rows"
)

// applicationID marks a database as one of this store: "brth". The command file(1) shows it.
const applicationID = 0x62727468

// migrations lead from each version of the schema to the next. The version is SQLite's user_version. A released migration never
// changes. A program refuses a database whose version it does not know. So a migration must not come together with a change
// that the version before could work with.
var migrations = []string{
	createTable + createIndexes(), // to version 1
}

const createTable = `
CREATE TABLE records (
	kind INTEGER NOT NULL,
	id TEXT NOT NULL,
	body TEXT NOT NULL,
	state TEXT,
	ended INTEGER, -- whether the state is that
	task TEXT, usr TEXT, repository TEXT, container TEXT, instance TEXT, owner TEXT,
	room INTEGER,
	queued INTEGER,
	lease_until INTEGER,
	ended_at INTEGER,
	PRIMARY KEY (kind, id)
) STRICT;
`

func createIndexes() string {
	var b strings.Builder
	for _, x := range rows.CoarseIndexes() {
		fmt.Fprintf(&b, "CREATE INDEX %s ON records (%s) WHERE %s;\n", x.Name, strings.Join(x.Columns, ", "), x.Where())
	}
	return b.String()
}

// look returns the version as of one moment: another process may be making the database.
func (f *file) look(c *conn) (int, error) {
	if err := c.once("BEGIN"); err != nil {
		return 0, f.explain(err)
	}
	version, err := f.version(c)
	return version, errors.Join(err, c.once("ROLLBACK"))
}

// version returns the version of a database's schema, or 0 for an empty database. It is called in a transaction.
func (f *file) version(c *conn) (int, error) {
	id, err := c.number("PRAGMA application_id")
	if err != nil {
		return 0, f.explain(err)
	}
	version, err := c.number("PRAGMA user_version")
	if err != nil {
		return 0, f.explain(err)
	}
	tables, err := c.number("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return 0, f.explain(err)
	}
	switch {
	case id == 0 && version == 0 && tables == 0:
		return 0, nil
	case id != applicationID:
		return 0, explainedError{fmt.Errorf("sqlitestore: %s: %w: it is the SQLite database of another program", f.path, ErrForeign)}
	case version > int64(len(migrations)):
		return 0, explainedError{fmt.Errorf("sqlitestore: %s: %w (it has schema %d, this program knows %d)",
			f.path, ErrNewerSchema, version, len(migrations))}
	}
	return int(version), nil
}

// prepare makes the database ready for this program: in write-ahead mode, with the newest schema. It touches nothing
// unless the database is one of this store's, or empty.
func (f *file) prepare(c *conn) error {
	if _, err := f.look(c); err != nil {
		return err
	}
	if err := f.writeAhead(c); err != nil {
		return err
	}
	return f.migrate(c)
}

func (f *file) writeAhead(c *conn) error {
	mode, err := c.text("PRAGMA journal_mode = WAL")
	if err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system does not let processes share memory, which the write-ahead log needs (journal_mode is %q)", mode)
	}
	return nil
}

func (f *file) migrate(c *conn) error {
	// Most of the time there is nothing to do, and no need to wait for a lock.
	version, err := f.look(c)
	if err != nil || version == len(migrations) {
		return err
	}
	if err := c.once("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	version, err = f.version(c) // another process may have been quicker
	for ; err == nil && version < len(migrations); version++ {
		for _, sql := range strings.Split(migrations[version], ";\n") {
			if err == nil && strings.TrimSpace(sql) != "" {
				err = c.once(sql)
			}
		}
	}
	for _, sql := range []string{
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		fmt.Sprintf("PRAGMA user_version = %d", len(migrations)),
		"COMMIT",
	} {
		if err == nil {
			err = c.once(sql)
		}
	}
	if err != nil {
		_ = c.once("ROLLBACK")
	}
	return err
}

// openPatience is how long Open waits for other processes that have the database locked.
const openPatience = 30 * time.Second

// patiently tries something again while another process is in the way: some locks are not waited for by SQLite.
func patiently(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	for {
		err := do()
		if primary(err) != sqlite3.SQLITE_BUSY {
			return err
		}
		if pause.Sleep(ctx, 20*time.Millisecond) != nil {
			return err
		}
	}
}
