package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// migrate brings the schema up to date. It uses a connection of its own: those of the pool need the tables.
func (s *Store) migrate(ctx context.Context, config *pgxpool.Config) error {
	conn, err := dial(ctx, config)
	if err != nil {
		return explain("connecting", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var encoding string
	var standby bool
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_encoding'), pg_is_in_recovery()").Scan(&encoding, &standby); err != nil {
		return explain("looking at the database", err)
	}
	switch {
	case encoding != "UTF8":
		return fmt.Errorf("pgstore: the encoding of database %q is %s: use one that was made with ENCODING 'UTF8'",
			config.ConnConfig.Database, encoding)
	case standby:
		return errStandby
	}
	version, err := s.version(ctx, conn)
	if err != nil {
		return err
	}
	if version < len(migrations) {
		err = s.upgrade(ctx, conn)
		if state(err) == insufficientPrivilege {
			err = fmt.Errorf("pgstore: user %q may not make or change the tables of schema %q in database %q: "+
				"GRANT CREATE ON DATABASE %[3]q TO %[1]q, or have an administrator run what pgstore.SQL(%[2]q) returns: %[4]w",
				config.ConnConfig.User, s.opts.Schema, config.ConnConfig.Database, err)
		}
	}
	return explain("making the tables", err)
}

// version returns the version of the schema; 0: there is none.
func (s *Store) version(ctx context.Context, conn *pgx.Conn) (version int, err error) {
	err = conn.QueryRow(ctx, "SELECT version FROM "+s.opts.Schema+".version").Scan(&version)
	switch {
	case state(err) == undefinedTable || state(err) == invalidSchemaName:
		return 0, nil
	case errors.Is(err, pgx.ErrNoRows):
		return 0, fmt.Errorf("pgstore: schema %q has a table \"version\" that is not berth's: choose another Options.Schema", s.opts.Schema)
	case err != nil:
		return 0, explain("reading the version of schema "+s.opts.Schema, err)
	case version > len(migrations):
		return 0, fmt.Errorf("pgstore: schema %q has version %d, and this program knows up to %d: %w",
			s.opts.Schema, version, len(migrations), ErrNewerSchema)
	}
	return version, nil
}

// upgrade runs the migrations that are missing, in one transaction. Of several processes that do it at once, one does,
// and the others find it done.
func (s *Store) upgrade(ctx context.Context, conn *pgx.Conn) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", hashOf(s.opts.Schema, "migrate")); err != nil {
		return err
	}
	var schema, table bool
	err = tx.QueryRow(ctx, "SELECT to_regnamespace($1) IS NOT NULL, to_regclass($1 || '.version') IS NOT NULL", s.opts.Schema).Scan(&schema, &table)
	if err != nil {
		return err
	}
	var sql string
	if !schema {
		sql = "CREATE SCHEMA " + s.opts.Schema + ";"
	}
	version := 0
	if table {
		if version, err = s.version(ctx, conn); err != nil || version == len(migrations) {
			return err
		}
	} else {
		sql += bootstrap(s.opts.Schema)
	}
	if _, err := conn.PgConn().Exec(ctx, sql+steps(s.opts.Schema, version)).ReadAll(); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// state returns the SQLSTATE of an error, or "".
func state(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}
