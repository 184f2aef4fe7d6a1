package pgstore_test

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/internal/rows"
	"github.com/berth-go/berth/store/pgstore"
)

func TestManyOpenAnEmptyDatabaseAtOnce(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	dsn := server.DSN(server.Database(t))
	var stores [8]*pgstore.Store
	var all sync.WaitGroup
	for i := range stores {
		all.Go(func() {
			s, err := pgstore.Open(t.Context(), dsn, pgstore.Options{})
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			stores[i] = s
		})
	}
	all.Wait()
	for i, s := range stores {
		if s == nil {
			continue
		}
		defer s.Close()
		if err := set(bounded(t), s, i, "a"); err != nil {
			t.Error(err)
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	dsn := server.DSN(server.Database(t))
	open(t, dsn, pgstore.Options{}).Close()
	execute(t, dsn, "UPDATE berth.version SET version = 1000")
	_, err := pgstore.Open(t.Context(), dsn, pgstore.Options{})
	requireSays(t, err, "version 1000", "upgrade this program")
}

func TestForeignSchemaIsRefused(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	dsn := server.DSN(server.Database(t))
	execute(t, dsn, "CREATE SCHEMA berth; CREATE TABLE berth.version (version integer)")
	_, err := pgstore.Open(t.Context(), dsn, pgstore.Options{})
	requireSays(t, err, "choose another Options.Schema")
}

func TestPoolsShareADatabase(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	dsn := server.DSN(server.Database(t))
	one, two := open(t, dsn, pgstore.Options{Schema: "one"}), open(t, dsn, pgstore.Options{Schema: "two"})
	// Neither has the other's locks, nor its records.
	err := one.Update(bounded(t), []store.Key{store.UserKey("a")}, func(tx store.Tx) error {
		if err := set(bounded(t), two, 2, "a"); err != nil {
			return err
		}
		return tx.Put(&store.User{ID: "a", Sessions: 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := number(t, one, "a"), number(t, two, "a"); a != 1 || b != 2 {
		t.Errorf("the pools have %d and %d, want 1 and 2", a, b)
	}
}

// TestIndexesAreThoseOfTheQueries compares the migrations' indexes with those that the queries need.
func TestIndexesAreThoseOfTheQueries(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	dsn := server.DSN(server.Database(t))
	open(t, dsn, pgstore.Options{})
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, x := range rows.Indexes {
		var definition string
		err := conn.QueryRow(t.Context(), "SELECT pg_get_indexdef(('berth.' || $1)::regclass)", x.Name).Scan(&definition)
		want := "(" + strings.Join(x.Columns, ", ") + ") WHERE (" + x.Where() + ")"
		if err != nil || !strings.HasSuffix(definition, want) {
			t.Errorf("index %s is %q, want %q: %v", x.Name, definition, want, err)
		}
	}
}

// TestEveryQueryReadsLittle lets the server run every form of query, on a table with some ten thousand records. It goes
// by an index, and with the settings of the store it reads no more than the page needs.
func TestEveryQueryReadsLittle(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	dsn := server.DSN(server.Database(t))
	s := open(t, dsn, pgstore.Options{})
	world{s, 4}.fill(t, 10_000)
	execute(t, dsn, "ANALYZE")
	plain, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close(t.Context())
	ours, err := s.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Release()
	for _, q := range rows.Questions(func(string) string { return "berth.records" }) {
		limit, states := q.Args[len(q.Args)-1].(int), 1+strings.Count(q.SQL, "UNION ALL")
		for who, conn := range map[string]*pgx.Conn{"the server's settings": plain, "the store's settings": ours.Conn()} {
			plan := explain(t, conn, q)
			if strings.Contains(plan, "Seq Scan") || !usesIndex(plan, q) {
				t.Errorf("%s, with %s: %s\nwant index %q:\n%s", q.Name, who, q.SQL, q.Index, plan)
			}
			if conn == plain {
				continue
			}
			for _, read := range regexp.MustCompile(`rows=(\d+)`).FindAllStringSubmatch(plan, -1) {
				if n, err := strconv.Atoi(read[1]); err != nil || n > limit*states {
					t.Errorf("%s, with %s: %s\nread %d records for a page of %d:\n%s", q.Name, who, q.SQL, n, limit, plan)
					break
				}
			}
		}
	}
}

// explain runs a query and returns the server's plan.
func explain(t *testing.T, conn *pgx.Conn, q rows.Question) string {
	t.Helper()
	found, err := conn.Query(t.Context(), "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) "+pgstore.Apart(q.SQL), q.Args...)
	if err != nil {
		t.Fatalf("%s: %v", q.Name, err)
	}
	lines, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", q.Name, err)
	}
	return strings.Join(lines, "\n")
}

// usesIndex reports whether a plan goes by the index of a query, or by that of another column which the query compares.
func usesIndex(plan string, q rows.Question) bool {
	if strings.Contains(plan, cmp.Or(q.Index, "records_pkey")) {
		return true
	}
	for _, column := range []string{"usr", "owner", "instance", "repository", "queued"} {
		if strings.Contains(q.SQL, column+" = ") && strings.Contains(plan, "records_"+column) {
			return true
		}
	}
	return false
}
