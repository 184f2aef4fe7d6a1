package pgstore

import "github.com/jackc/pgx/v5/pgxpool"

// Pool returns the connections of a store, as they are prepared, to be used without it.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

// Apart is how a query of package rows is sent.
func Apart(sql string) string { return apart(sql) }
