package crash_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/sqlitestore"
)

// TestKilledOverSQLite kills one process after another over one SQLite database and one engine.
func TestKilledOverSQLite(t *testing.T) {
	t.Parallel()
	rounds := 5 // one of each kind
	if testenv.Soak() {
		rounds = 200
	}
	o := newOrders(t)
	o.Store = filepath.Join(t.TempDir(), "berth.db")
	b := newBooks(t)
	defer b.log()
	random := rand.New(rand.NewPCG(1, uint64(rounds)))
	little := func() bool {
		return b.count(opCreated) < 2*rounds || b.count(opUsed) < rounds || b.count(opEnded) < rounds
	}
	for round, begin := 0, time.Now(); round < rounds || little() && time.Since(begin) < patience; round++ {
		o.Seed = uint64(round + 1)
		p := b.start(o)
		life := time.Duration(random.IntN(4000)) * time.Millisecond
		switch {
		case round == 0: // nobody launches before a dead planner's lease is over
			b.await(opCreated, 3)
		case round%10 == 3: // long enough to take over what those before it have begun
			p.await()
			life += 18 * time.Second
		case round%5 != 4: // the fifth is killed while it starts
			b.await(opUsed, b.count(opUsed)+random.IntN(3))
		}
		time.Sleep(life)
		if round%7 == 6 {
			p.close()
		} else {
			p.kill()
		}
		b.checkSQLite(o)
		if t.Failed() {
			t.Fatalf("in round %d, after %v", round, life)
		}
	}
	if little() {
		t.Errorf("little was done: %v", b.counts)
	}
	st, err := sqlitestore.Open(t.Context(), o.Store)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	b.finish(o, st)
}

// newOrders describes the pool of a test. At its end, nothing of that pool may be left on the engine.
func newOrders(t *testing.T) orders {
	t.Helper()
	testenv.Docker(t)
	o := orders{Pool: testenv.PoolName(t), Image: testenv.Image(t), Callers: 4}
	if testenv.Soak() {
		o.Callers = 6
	}
	git := gittest.NewSmartServer(t)
	for i := range 4 {
		history := gittest.Files(map[string]string{"README": fmt.Sprintln(i)})
		o.URLs = append(o.URLs, git.Create(fmt.Sprintf("org/r%d", i), history).URL())
	}
	return o
}

func (b *books) checkSQLite(o orders) {
	b.t.Helper()
	st, err := sqlitestore.Open(b.t.Context(), o.Store)
	if err != nil {
		b.t.Fatal(err)
	}
	defer st.Close()
	b.check(st, testenv.Docker(b.t), o.Pool)
}

// finish goes on with the pool in this process: what was active still is, what was begun comes to its end, and after
// Destroy nothing is left.
func (b *books) finish(o orders, st store.Store) {
	t := b.t
	t.Helper()
	p, err := berth.NewLocalProvider(t.Context(), o.config(st, t.Output()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for id, e := range b.sessions {
		if !e.created || e.ending {
			continue
		}
		s, err := p.GetSession(ctx, id)
		if err != nil {
			t.Errorf("session %s of %s: %v", id, e.task, err)
			continue
		}
		out, err := s.Command(ctx, "sh", "-c", "touch ~/marks; wc -l < ~/marks").Output()
		if marks, bad := strconv.Atoi(strings.TrimSpace(string(out))); err != nil || bad != nil || marks < e.marks {
			t.Errorf("session %s of %s has %q marks of %d: %v", id, e.task, out, e.marks, err)
		}
		if again, err := p.CreateSession(ctx, berth.SessionRequest{
			TaskID: e.task, UserID: s.Info().UserID, Repository: "http://" + s.Info().Repository.String() + ".git",
		}); err != nil || again.ID() != id {
			t.Errorf("task %s again: %v, %v", e.task, again, err)
		}
	}
	settled := func() bool {
		for s, err := range p.ListSessions(ctx, berth.SessionFilter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if s.Info().State != berth.SessionActive {
				return false
			}
		}
		return true
	}
	for !settled() {
		select {
		case <-ctx.Done():
			t.Fatal("what dead processes had begun does not come to its end")
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err := p.Destroy(ctx); err != nil {
		t.Error(err)
	}
	for kind, n := range o.records(t) {
		switch kind {
		case store.KindPool, store.KindSession, store.KindLease: // which says how far its fence has come; sessions are kept a while
		case store.KindUsage, store.KindLedger: // the bill outlives the pool
		default:
			t.Errorf("%d records of kind %v are left", n, kind)
		}
	}
}

// records counts the records of each kind in the database, also those that no query of a store finds.
func (o *orders) records(t *testing.T) map[store.Kind]int {
	t.Helper()
	driver, source, table := "sqlite", o.Store, "records"
	if strings.HasPrefix(o.Store, "postgres:") {
		driver, table = "pgx", "berth.records"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(context.Background(), "SELECT kind, count(*) FROM "+table+" GROUP BY kind")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	records := make(map[store.Kind]int)
	for rows.Next() {
		var kind store.Kind
		var n int
		if err := rows.Scan(&kind, &n); err != nil {
			t.Fatal(err)
		}
		records[kind] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return records
}
