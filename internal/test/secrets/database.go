package secrets

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// Database searches all rows of all tables of a PostgreSQL database.
func (s *Search) Database(t testing.TB, place, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	tables := texts(t, conn, `SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
		WHERE table_schema NOT IN ('pg_catalog', 'information_schema')`)
	if len(tables) == 0 {
		t.Error("the database has no tables")
	}
	for _, table := range tables {
		for _, row := range texts(t, conn, "SELECT t::text FROM "+table+" t") {
			s.Look(place, table, []byte(row))
		}
	}
}

func texts(t testing.TB, conn *pgx.Conn, query string) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}
