package sqlitestore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/sqlitestore"
)

// sqliteDo runs statements on a database that no store has open.
func sqliteDo(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// sqliteText returns the result of a query on a database that no store has open.
func sqliteText(t *testing.T, path, query string) string {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	s := openAt(t, path)
	if err := s.Update(t.Context(), nil, appendOne); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %o, want 600", info.Name(), mode)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(path + "*")
	if err != nil || len(left) != 1 {
		t.Errorf("after Close there are %v, %v; want the database alone", left, err)
	}
}

func TestAnyPath(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a b", "100%41", "what?mode=ro", "a#b", "ä'\"", "file:x", "&_pragma=x"} {
		path := filepath.Join(dir, name)
		s := openAt(t, path)
		if err := s.Update(t.Context(), nil, appendOne); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%q: the database is not there: %v", name, err)
		}
	}
	t.Chdir(dir)
	s := openAt(t, "relative.db")
	if n := logLength(t, s); n != 0 {
		t.Errorf("a new database has a log of %d", n)
	}
	if _, err := os.Stat(filepath.Join(dir, "relative.db")); err != nil {
		t.Error(err)
	}
}

// TestOpenRefuses: a file that is no store, or too new, is left as it was.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	newer := at("newer")
	if err := openAt(t, newer).Close(); err != nil {
		t.Fatal(err)
	}
	sqliteDo(t, newer, "PRAGMA user_version = 1000")
	sqliteDo(t, at("another's"), "CREATE TABLE records (x)", "INSERT INTO records VALUES (1)")
	sqliteDo(t, at("another's empty one"), "PRAGMA application_id = 7")
	write(t, at("text"), []byte(strings.Repeat("This is no database.\n", 500)))
	write(t, at("short text"), []byte("x"))
	half := at("half")
	if err := openAt(t, half).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(half, 4096+100); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		newer: sqlitestore.ErrNewerSchema, at("another's"): sqlitestore.ErrForeign, at("another's empty one"): sqlitestore.ErrForeign,
		at("text"): sqlitestore.ErrForeign, at("short text"): sqlitestore.ErrForeign, half: sqlitestore.ErrDamaged,
		dir: sqlitestore.ErrForeign, at("no directory/x"): os.ErrNotExist, "": nil, ":memory:": nil,
	} {
		var before []byte
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			before = read(t, path)
		}
		s, err := sqlitestore.Open(t.Context(), path)
		if err == nil {
			s.Close()
			t.Errorf("%q was opened", path)
			continue
		}
		if want != nil && (!errors.Is(err, want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%q: error %q, want %q with the path", path, err, want)
		}
		if n := strings.Count(err.Error(), "sqlitestore:"); n != 1 {
			t.Errorf("%q: error %q names the package %d times", path, err, n)
		}
		if before != nil && string(read(t, path)) != string(before) {
			t.Errorf("%q was changed", path)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlitestore.Open(ended, at("new")); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a context that has ended: %v", err)
	}
	if _, err := os.Stat(at("new")); err == nil {
		t.Error("Open with a context that has ended made a file")
	}
}

// TestOpenedByMany opens a new database many times at once: one makes it, all can use it.
func TestOpenedByMany(t *testing.T) {
	for range 5 {
		path := filepath.Join(t.TempDir(), "berth.db")
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				s, err := sqlitestore.Open(t.Context(), path)
				if err != nil {
					t.Errorf("Open: %v", err)
					return
				}
				defer s.Close()
				if err := s.Update(t.Context(), nil, appendOne); err != nil {
					t.Errorf("Update: %v", err)
				}
			})
		}
		all.Wait()
		if n := logLength(t, openAt(t, path)); n != 8 {
			t.Errorf("8 Updates made a log of %d", n)
		}
	}
}

// TestOtherProcess shares the database with another process. Both write, and the other one's writes wake watchers here.
func TestOtherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	s := openAt(t, path)
	wake, stop := s.Notify(counter)
	defer stop()
	if got := startChild(t, "open", path, nil).output(); got != "written" {
		t.Fatalf("the other process says: %s", got)
	}
	<-wake
	if n := logLength(t, s); n != 1 {
		t.Fatalf("a log of %d, want 1", n)
	}
	acknowledged := make(chan int, 1)
	go func() {
		defer close(acknowledged) // also when it fails
		acknowledged <- killWhileWriting(t, path, 1, 0)
	}()
	for {
		if err := s.Update(t.Context(), nil, appendOne); err != nil {
			t.Fatal(err)
		}
		select {
		case last := <-acknowledged:
			if n := logLength(t, s); n < last {
				t.Errorf("%d was acknowledged, and the log ends at %d", last, n)
			}
			return
		case <-time.After(5 * time.Millisecond): // SQLite is not fair: the other process shall have its turn
		}
	}
}

// TestDamaged damages the middle of a database: reads of it fail with an error, and the rest can be read.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	s := openAt(t, path)
	for range 300 {
		if err := s.Update(t.Context(), nil, appendOne); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b := read(t, path)
	for i := len(b) / 4; i < len(b); i++ {
		b[i] ^= 0x55
	}
	write(t, path, b)
	s, err := sqlitestore.Open(t.Context(), path)
	if err == nil {
		defer s.Close()
		err = s.View(t.Context(), func(v store.View) error {
			for i := range 300 {
				session, _ := logged(i + 1)
				if _, err := v.Get(session.Key()); err != nil {
					return fmt.Errorf("number %d: %w", i+1, err)
				}
			}
			return nil
		})
	}
	if !errors.Is(err, sqlitestore.ErrDamaged) {
		t.Errorf("error %v, want ErrDamaged", err)
	}
}
