package crash_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite" // makes the backup, as an operator's own program does

	"github.com/berth-go/berth/store/sqlitestore"
)

// TestRestoredFromACopyTakenUnderLoad sets the store back by seconds of work: what came after the copy is unknown to it,
// and what ended after it is there again. The next process makes records and engine agree.
func TestRestoredFromACopyTakenUnderLoad(t *testing.T) {
	t.Parallel()
	o, b := newOrders(t), newBooks(t)
	defer b.log()
	dir := t.TempDir()
	o.Store, o.Seed = filepath.Join(dir, "berth.db"), 1
	backup := filepath.Join(dir, "backup.db")
	p := b.start(o)
	b.await(opCreated, 8)
	db, err := sql.Open("sqlite", o.Store)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "VACUUM INTO ?", backup); err != nil {
		t.Fatal(err)
	}
	b.await(opCreated, b.count(opCreated)+5)
	p.kill()
	db.Close()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(o.Store + suffix); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.Rename(backup, o.Store); err != nil {
		t.Fatal(err)
	}

	p = newBooks(t).start(o) // what it is told of sessions is not what the books have
	p.await()
	time.Sleep(25 * time.Second) // it takes over, finds what has gone, and works
	p.kill()
	b = newBooks(t)
	b.checkSQLite(o)
	st, err := sqlitestore.Open(t.Context(), o.Store)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	b.finish(o, st)
}
