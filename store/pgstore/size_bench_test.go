package pgstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/pgstore"
)

// BenchmarkStart reads all that a provider may want to know when it begins: 100,000 sessions that live, on 1,000
// instances. It also reports the disk that a session takes, with its task and its entries in the indexes.
func BenchmarkStart(b *testing.B) {
	server := pgtest.Shared(b)
	dsn := server.DSN(server.Database(b))
	s := open(b, dsn, pgstore.Options{})
	const live = 100_000
	world{s, 100}.fill(b, live)
	rewrite(b, s, func() { execute(b, dsn, "VACUUM ANALYZE") }) // as they are after some time
	size := diskSize(b, dsn)
	ctx := context.Background()
	for b.Loop() {
		sessions, instances := 0, 0
		for _, err := range store.Sessions(ctx, s, store.SessionQuery{}) {
			if err != nil {
				b.Fatal(err)
			}
			sessions++
		}
		for _, err := range store.Instances(ctx, s, store.InstanceQuery{}) {
			if err != nil {
				b.Fatal(err)
			}
			instances++
		}
		if sessions != live || instances != live/100 {
			b.Fatalf("read %d sessions and %d instances", sessions, instances)
		}
	}
	b.ReportMetric(float64(size)/live, "disk-B/session")
}

// rewrite renews the lease of every session. The server tidies up after each tenth, as autovacuum does when leases are
// not all renewed at once.
func rewrite(b *testing.B, s store.Store, tidy func()) {
	b.Helper()
	n := 0
	var page []*store.Session
	flush := func() {
		var keys []store.Key
		for _, r := range page {
			keys = append(keys, r.Key())
		}
		world{Store: s}.update(b, keys, func(tx store.Tx) error {
			for _, key := range keys {
				r, err := store.Get[*store.Session](tx, key)
				if err != nil {
					return err
				}
				r.LeaseUntil = r.LeaseUntil.Add(time.Hour)
				if err := tx.Put(r); err != nil {
					return err
				}
			}
			return nil
		})
		page = nil
		if n++; n%20 == 0 {
			tidy()
		}
	}
	for r, err := range store.Sessions(context.Background(), s, store.SessionQuery{}) {
		if err != nil {
			b.Fatal(err)
		}
		if page = append(page, r); len(page) == 500 {
			flush()
		}
	}
	flush()
	tidy()
}

// diskSize returns the size of the records with their indexes.
func diskSize(b *testing.B, dsn string) (bytes int64) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(b.Context(), "SELECT pg_total_relation_size('berth.records')").Scan(&bytes); err != nil {
		b.Fatal(err)
	}
	return bytes
}

// BenchmarkWake measures the time from the begin of an Update in one store to the wake-up of a watcher in another store.
func BenchmarkWake(b *testing.B) {
	server := pgtest.Shared(b)
	dsn := server.DSN(server.Database(b))
	writer, watcher := open(b, dsn, pgstore.Options{}), open(b, dsn, pgstore.Options{})
	wake, stop := watcher.Notify(store.UserKey("a"))
	defer stop()
	// It listens when it has woken everybody, and then for a commit.
	<-wake
	for n := 0; ; n++ {
		if err := set(context.Background(), writer, n, "a"); err != nil {
			b.Fatal(err)
		}
		select {
		case <-wake:
		case <-time.After(patience):
			b.Fatal("no wake")
		}
		if n == 1 {
			break
		}
	}
	var longest, sum time.Duration
	for b.Loop() {
		begin := time.Now()
		if err := set(context.Background(), writer, b.N, "a"); err != nil {
			b.Fatal(err)
		}
		<-wake
		took := time.Since(begin)
		sum, longest = sum+took, max(longest, took)
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest-wake")
	b.ReportMetric(float64(sum.Microseconds())/1000/float64(b.N), "ms-wake")
}
