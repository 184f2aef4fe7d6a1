package pgstore_test

import (
	"testing"

	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/pgstore"
	"github.com/berth-go/berth/store/storetest"
)

// TestSharedBehindPgBouncer has several stores share records through a PgBouncer that gives each connection one of the
// server's for as long as it lasts.
func TestSharedBehindPgBouncer(t *testing.T) {
	t.Parallel()
	storetest.RunShared(t, func(t *testing.T) func() store.Store {
		server := pgtest.Shared(t)
		dsn := server.Bouncer(t, "session", server.Database(t))
		return func() store.Store { return open(t, dsn, pgstore.Options{}) }
	})
}
