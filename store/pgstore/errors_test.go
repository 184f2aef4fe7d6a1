package pgstore_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/store/pgstore"
)

const secret = "s3cret/p@ss%word"

// requireSays fails the test unless an error says all of it, and not the secret.
func requireSays(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one that says %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
	for _, s := range []string{secret, url.QueryEscape(secret), "s3cret"} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("the error says the password: %v", err)
		}
	}
}

// as returns the connection string of another user.
func as(t *testing.T, dsn, user, password string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

func TestConnectionStringsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		"postgres://berth:" + secret + "@db.example.com:5432/berth",
		"postgres://berth:s3cret@db.example.com:port/berth",
		"host=db.example.com password=s3cret port=none",
		"password='s3cret",
		"postgres://berth:s3cret@db.example.com/berth?sslmode=perhaps",
		"postgres://berth:s3cret@db.example.com/berth?pool_max_conns=many",
	} {
		_, err := pgstore.Open(t.Context(), dsn, pgstore.Options{})
		requireSays(t, err, "pgstore: ")
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	db := server.Database(t)
	dsn := server.DSN(db)
	ctx := bounded(t)
	user := "plain_" + db
	execute(t, dsn, "CREATE ROLE "+user+" LOGIN PASSWORD '"+secret+"'")
	t.Cleanup(func() { execute(t, server.DSN("postgres"), "DROP ROLE "+user) })
	t.Cleanup(func() { execute(t, dsn, "DROP OWNED BY "+user) })

	_, err := pgstore.Open(ctx, as(t, dsn, user, secret+"x"), pgstore.Options{})
	requireSays(t, err, "refuses the user or the password", user)
	_, err = pgstore.Open(ctx, as(t, server.DSN("nowhere"), user, secret), pgstore.Options{})
	requireSays(t, err, "make the database", "nowhere")
	_, err = pgstore.Open(ctx, dsn, pgstore.Options{Schema: "No Schema"})
	requireSays(t, err, "Options.Schema", "No Schema")

	plain := as(t, dsn, user, secret)
	_, err = pgstore.Open(ctx, plain, pgstore.Options{})
	requireSays(t, err, "may not make", "GRANT CREATE ON DATABASE", "pgstore.SQL", user)

	// An administrator makes the schema.
	sql, err := pgstore.SQL("berth")
	if err != nil {
		t.Fatal(err)
	}
	execute(t, dsn, sql+"GRANT USAGE ON SCHEMA berth TO "+user+"; GRANT SELECT ON ALL TABLES IN SCHEMA berth TO "+user)
	s := open(t, plain, pgstore.Options{})
	requireSays(t, set(ctx, s, 1, "a"), "SELECT, INSERT, UPDATE and DELETE")
	execute(t, dsn, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA berth TO "+user)
	if err := set(ctx, s, 1, "a"); err != nil {
		t.Error(err)
	}

	execute(t, dsn, "ALTER ROLE "+user+" SET default_transaction_read_only = on; ALTER ROLE "+user+" SET synchronous_commit = off")
	readOnly := open(t, plain, pgstore.Options{})
	requireSays(t, set(ctx, readOnly, 2, "a"), "takes no writes", "primary")
	var durable string
	if err := readOnly.Pool().QueryRow(ctx, "SELECT current_setting('synchronous_commit')").Scan(&durable); err != nil || durable != "on" {
		t.Errorf("synchronous_commit is %s: %v", durable, err)
	}

	execute(t, dsn, "ALTER ROLE "+user+" CONNECTION LIMIT 0")
	server.Terminate(t, db)
	requireSays(t, set(ctx, s, 3, "a"), "max_connections")
	if n := number(t, open(t, dsn, pgstore.Options{}), "a"); n != 1 {
		t.Errorf("after all these errors there is %d, want 1", n)
	}
}

func TestStandbyIsRefused(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	dsn := server.DSN("postgres")
	s := open(t, dsn, pgstore.Options{})
	if err := set(bounded(t), s, 1, "a"); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(server.Dir, "data", "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := server.Up(); err != nil {
		t.Fatal(err)
	}
	_, err := pgstore.Open(t.Context(), dsn, pgstore.Options{})
	requireSays(t, err, "standby", "primary")
	requireSays(t, set(bounded(t), s, 2, "a"), "standby", "primary")
	if n := number(t, s, "a"); n != 1 {
		t.Errorf("a View of a standby reads %d, want 1", n)
	}
}
