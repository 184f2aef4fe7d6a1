package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/sqlitestore"
)

func ctxOfChild() context.Context { return context.Background() }

// The database of these tests is a log: a counter, and for each number that it has had, a session and its task. What is
// half written contradicts itself.

var counter = store.UserKey("counter")

func logged(n int) (*store.Session, *store.Task) {
	id := fmt.Sprintf("s-%06d", n)
	return &store.Session{ID: id, TaskID: id, State: store.SessionActive, Branch: strings.Repeat("b", n%200)}, &store.Task{ID: id, Session: id}
}

// appendOne adds the next number to the log.
func appendOne(tx store.Tx) error {
	_, err := appendNext(tx)
	return err
}

func appendNext(tx store.Tx) (int, error) {
	c, err := store.Find[*store.User](tx, counter)
	if err != nil {
		return 0, err
	}
	if c == nil {
		c = &store.User{ID: counter.ID}
	}
	c.Sessions++
	session, task := logged(c.Sessions)
	return c.Sessions, errors.Join(tx.Put(c), tx.Put(session), tx.Put(task))
}

// logLength returns how long the log is, having looked at all of it.
func logLength(t *testing.T, s store.Store) (n int) {
	t.Helper()
	err := s.View(t.Context(), func(v store.View) error {
		c, err := store.Find[*store.User](v, counter)
		if err != nil || c == nil {
			return err
		}
		n = c.Sessions
		for i := range n {
			session, task := logged(i + 1)
			have, err := store.Get[*store.Session](v, session.Key())
			if err != nil {
				return err
			}
			if have.Branch != session.Branch {
				return fmt.Errorf("%s is half written: %+v", session.ID, have)
			}
			if _, err := v.Get(task.Key()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("after a log of %d: %v", n, err)
	}
	found := 0
	for _, err := range store.Sessions(t.Context(), s, store.SessionQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		found++
	}
	if found != n {
		t.Fatalf("a log of %d has %d sessions", n, found)
	}
	return n
}

// writeForEver appends to the log from many goroutines, and says each number when it was committed.
func writeForEver(path string) error {
	s, err := sqlitestore.Open(ctxOfChild(), path)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	errs := make(chan error, 16)
	for range cap(errs) {
		all.Go(func() {
			for {
				var n int
				err := s.Update(ctxOfChild(), []store.Key{counter}, func(tx store.Tx) (err error) {
					n, err = appendNext(tx)
					return err
				})
				if err == nil {
					_, err = io.WriteString(os.Stdout, strconv.Itoa(n)+"\n")
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	return <-errs
}

// killWhileWriting lets a child write to the database, and kills it some time after it has acknowledged a number of writes. It
// returns the highest number that was acknowledged.
func killWhileWriting(t *testing.T, path string, writes int, after time.Duration) (acknowledged int) {
	t.Helper()
	c := startChild(t, "write", path, nil)
	hear := func(line string) {
		n, err := strconv.Atoi(line)
		if err != nil {
			t.Fatalf("the child says: %s", line)
		}
		acknowledged = max(acknowledged, n)
	}
	for range writes {
		if !c.lines.Scan() {
			break
		}
		hear(c.lines.Text())
	}
	kill := time.AfterFunc(after, func() { _ = c.Process.Kill() })
	defer kill.Stop()
	for _, line := range c.rest() {
		hear(line)
	}
	if acknowledged == 0 {
		t.Fatal("the child has written nothing")
	}
	return acknowledged
}

// TestKilledWhileWriting kills a process again and again: what it has acknowledged is there, and nothing is half
// written.
func TestKilledWhileWriting(t *testing.T) {
	rounds := 20
	if testenv.Soak() {
		rounds = 200
	}
	path := filepath.Join(t.TempDir(), "berth.db")
	for round := range rounds {
		acknowledged := killWhileWriting(t, path, 1, time.Duration(rand.IntN(60_000))*time.Microsecond)
		if round%5 != 4 && round != rounds-1 {
			continue // the next child finds what this one has left
		}
		s := openAt(t, path)
		if n := logLength(t, s); n < acknowledged {
			t.Fatalf("round %d: %d was acknowledged, and the log ends at %d", round, acknowledged, n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	requireSound(t, path)
}

// TestTornLog cuts and damages the write-ahead log that a killed process has left, as a loss of power may do with what
// was not yet on the disk. What is left is what some number of commits made: the longer the log, the more, and all of it
// if the log is whole.
func TestTornLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "berth.db")
	acknowledged := killWhileWriting(t, path, 200, 0) // many commits, however slow the machine is
	main, log := read(t, path), read(t, path+"-wal")
	if len(log) < 50_000 || len(log) > 40_000_000 {
		t.Fatalf("the log has %d bytes: too few to cut, or so many that some were already moved", len(log))
	}
	restore := func(name string, log []byte) int {
		t.Helper()
		path := filepath.Join(dir, name)
		write(t, path, main)
		write(t, path+"-wal", log)
		s := openAt(t, path)
		n := logLength(t, s)
		if err := s.Update(t.Context(), nil, appendOne); err != nil {
			t.Fatalf("writing to what was left: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		requireSound(t, path)
		return n
	}
	if n := restore("whole.db", log); n < acknowledged {
		t.Fatalf("%d was acknowledged, and the log ends at %d", acknowledged, n)
	}
	before := 0
	const cuts = 12
	for i := range cuts {
		at := len(log)*i/cuts + rand.IntN(len(log)/cuts)
		n := restore(fmt.Sprintf("cut-%d.db", i), log[:at])
		damaged := append([]byte(nil), log...)
		damaged[at] ^= 1 << rand.IntN(8)
		m := restore(fmt.Sprintf("damaged-%d.db", i), damaged)
		if n < before || m != n {
			t.Errorf("cut at byte %d of %d the log ends at %d, damaged there at %d, cut earlier at %d", at, len(log), n, m, before)
		}
		before = n
	}
	if before == 0 {
		t.Error("nothing was left of a log that was cut near its end")
	}
}

// requireSound makes SQLite check every page of a database that no process has open.
func requireSound(t *testing.T, path string) {
	t.Helper()
	if got := sqliteText(t, path, "PRAGMA integrity_check"); got != "ok" {
		t.Errorf("SQLite says of the database: %s", got)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
