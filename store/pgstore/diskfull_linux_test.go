package pgstore_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/pgstore"
)

// smallDisk mounts a disk of 32 MB and returns it. Its directory "table" belongs to the server.
func smallDisk(t *testing.T, server *pgtest.Server) string {
	t.Helper()
	disk := filepath.Join(server.Dir, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=32m"); err != nil {
		testenv.Missing(t, "not tested: a small disk cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	table := filepath.Join(disk, "table")
	if err := os.Mkdir(table, 0o700); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(server.Dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := os.Chown(table, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	return disk
}

// TestFullDisk gives the records a small disk, and fills it.
func TestFullDisk(t *testing.T) {
	server := pgtest.Start(t)
	disk := smallDisk(t, server)
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	dsn := server.DSN("postgres")
	s := open(t, dsn, pgstore.Options{})
	execute(t, dsn, "CREATE TABLESPACE small LOCATION '"+filepath.Join(disk, "table")+"'")
	execute(t, dsn, "ALTER TABLE berth.records SET TABLESPACE small")

	put := func(n int) error {
		var text strings.Builder
		for range 4000 {
			text.WriteString(rand.Text())
		}
		r := &store.Task{ID: fmt.Sprint(n), Session: text.String()}
		return s.Update(bounded(t), []store.Key{r.Key()}, func(tx store.Tx) error { return tx.Put(r) })
	}
	var err error
	kept := 0
	for ; kept < 1000; kept++ {
		if err = put(kept); err != nil {
			break
		}
	}
	requireSays(t, err, "disk is full", "nothing was written")
	has := func(n int) bool {
		found := false
		err := s.View(bounded(t), func(v store.View) error {
			r, err := store.Find[*store.Task](v, store.TaskKey(fmt.Sprint(n)))
			found = r != nil
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for n := range kept {
		if !has(n) {
			t.Errorf("record %d was acknowledged, and is lost", n)
		}
	}
	if has(kept) {
		t.Error("a record that was refused is there")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := put(kept); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}
