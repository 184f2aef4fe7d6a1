package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { Main(m) }

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// selects fails the test unless the connection answers.
func selects(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	var n int
	if err := conn.QueryRow(t.Context(), "SELECT 1").Scan(&n); err != nil || n != 1 {
		t.Fatalf("SELECT 1 gave %d, %v", n, err)
	}
}

func TestServerKeepsWhatItAnsweredWhenItCrashes(t *testing.T) {
	s := Start(t, "max_connections=7")
	db := s.Database(t)
	conn := connect(t, s.DSN(db))
	for _, sql := range []string{"CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, end := range []func() error{s.Crash, s.Stop} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if conn, err := pgx.Connect(t.Context(), s.DSN(db)); err == nil {
			conn.Close(t.Context())
			t.Fatal("a server that was ended answers")
		}
		if err := s.Up(); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	var most, commits string
	conn = connect(t, s.DSN(db))
	err := conn.QueryRow(t.Context(), "SELECT n, current_setting('max_connections'), current_setting('synchronous_commit') FROM kept").Scan(&n, &most, &commits)
	if err != nil || n != 7 || most != "7" || commits != "on" {
		t.Errorf("after the crash n is %d, max_connections %s, synchronous_commit %s: %v", n, most, commits, err)
	}
}

func TestPausedServerAnswersLater(t *testing.T) {
	s := Start(t)
	conn := connect(t, s.DSN("postgres"))
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		var n int
		if err := conn.QueryRow(context.Background(), "SELECT 1").Scan(&n); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-answered:
		t.Error("a paused server answered")
	case <-time.After(100 * time.Millisecond):
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	<-answered
}

func TestProxy(t *testing.T) {
	s := Shared(t)
	p := s.StartProxy(t)
	db := s.Database(t)
	conn := connect(t, p.DSN(db))
	selects(t, conn)

	p.Cut()
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a connection that was cut answers")
	}
	p.Refuse()
	if _, err := pgx.Connect(t.Context(), p.DSN(db)); err == nil {
		t.Error("a proxy that refuses lets a client through")
	}
	p.Pass()
	selects(t, connect(t, p.DSN(db)))

	conn = connect(t, p.DSN(db))
	p.CutAfter(1, Client, func(m Message) bool { return m.Type == 'Q' })
	if err := conn.Ping(t.Context()); err == nil { // the question passes, the answer does not
		t.Error("there was an answer after the cut")
	}

	conn = connect(t, p.DSN(db))
	p.Mute()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := conn.Ping(ctx); err == nil {
		t.Error("there was an answer through a mute proxy")
	}
	p.Pass()
	conn = connect(t, p.DSN(db))
	s.Terminate(t, db)
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a connection that was terminated answers")
	}
}

func TestDatabasesAreApart(t *testing.T) {
	s := Shared(t)
	a, b := connect(t, s.DSN(s.Database(t))), connect(t, s.DSN(s.Database(t)))
	if _, err := a.Exec(t.Context(), "CREATE TABLE mine (n int)"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Exec(t.Context(), "SELECT * FROM mine"); err == nil {
		t.Error("a table of one test is there in another's database")
	}
}
