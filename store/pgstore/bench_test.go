package pgstore_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/store/pgstore"
)

const callers = 64

// BenchmarkPair measures pairs of CreateSession and TerminateSession, as the store has them, by 64 callers. x_raw is
// how many times as fast they are as the very same statements, in the same transactions on as many connections, sent
// by pgx alone. With x-live=100 it is how many times as long a pair takes as with 100 live sessions.
func BenchmarkPair(b *testing.B) {
	var few time.Duration
	for _, bench := range []struct {
		name                   string
		live, perContainer, on int // on so many containers
	}{
		{"live=100", 100, 2, 50},
		{"live=100000", 100_000, 100, 50},
		{"hot", 100, 100, 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			each := benchmarkPairs(b, bench.live, bench.perContainer, bench.on)
			switch {
			case bench.live == 100 && bench.on > 1:
				few = each
			case few > 0 && bench.on > 1:
				b.ReportMetric(float64(each)/float64(few), "x-live=100")
			}
		})
	}
}

func benchmarkPairs(b *testing.B, live, perContainer, on int) (each time.Duration) {
	server := pgtest.Shared(b)
	db := server.Database(b)
	w := world{open(b, server.DSN(db), pgstore.Options{}), perContainer}
	w.fill(b, live)
	w.Close()
	analyze(b, server.DSN(db))
	raw := server.Copy(b, db) // before anything is measured
	tape := newRecorder()
	w = world{openTraced(b, server.DSN(db), tape), perContainer}

	var n atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range callers {
		all.Go(func() {
			for i := int(n.Add(1)); i <= b.N; i = int(n.Add(1)) {
				if err := w.pair(context.Background(), i, i%on); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	took := b.Elapsed()
	w.Close()
	b.ReportMetric(float64(b.N)/took.Seconds(), "pairs/s")
	b.ReportMetric(float64(4*b.N)/float64(tape.transactions()["commits"]), "updates/commit")
	b.ReportMetric(tape.replay(b, server.DSN(raw)).Seconds()/took.Seconds(), "x_raw")
	return took / time.Duration(b.N)
}

func openTraced(tb testing.TB, dsn string, tape *recorder) *pgstore.Store {
	tb.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	config.MaxConns = 10
	config.ConnConfig.Tracer = tape
	s, err := pgstore.OpenConfig(tb.Context(), config, pgstore.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func analyze(tb testing.TB, dsn string) { execute(tb, dsn, "VACUUM ANALYZE") }

// execute runs statements as administrator, also while a test cleans up.
func execute(tb testing.TB, dsn, sql string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		tb.Fatal(err)
	}
}

// recorder records the messages of a store on each connection.
type recorder struct {
	mu    sync.Mutex
	conns map[uint32][]*pgx.Batch // guarded by mu; by the server's process ID
}

var (
	_ pgx.BatchTracer = (*recorder)(nil)
	_ pgx.QueryTracer = (*recorder)(nil)
)

func newRecorder() *recorder { return &recorder{conns: map[uint32][]*pgx.Batch{}} }

func (r *recorder) keep(conn *pgx.Conn, queries ...*pgx.QueuedQuery) {
	batch := new(pgx.Batch)
	for _, q := range queries {
		batch.Queue(q.SQL, q.Arguments...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	pid := conn.PgConn().PID()
	r.conns[pid] = append(r.conns[pid], batch)
}

func (r *recorder) TraceBatchStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	r.keep(conn, data.Batch.QueuedQueries...)
	return ctx
}

func (r *recorder) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (r *recorder) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (r *recorder) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if data.SQL == "COMMIT" || data.SQL == "ROLLBACK" || data.SQL == "berth_get" { // not the listener's
		r.keep(conn, &pgx.QueuedQuery{SQL: data.SQL, Arguments: data.Args})
	}
	return ctx
}

func (r *recorder) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// transactions counts Views, the batches of Updates that were begun, and those that have written something.
func (r *recorder) transactions() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := map[string]int{"views": 0, "batches": 0, "commits": 0}
	for _, batches := range r.conns {
		for _, b := range batches {
			switch q := b.QueuedQueries; {
			case q[0].SQL == "berth_view":
				n["views"]++
			case q[0].SQL == "berth_begin":
				n["batches"]++
			case q[len(q)-1].SQL == "berth_commit":
				n["commits"]++
			}
		}
	}
	return n
}

// replay sends the same to another database, each connection's part on one connection, and returns how long that takes.
func (r *recorder) replay(b *testing.B, dsn string) time.Duration {
	b.Helper()
	store := openTraced(b, dsn, newRecorder()) // for its connections, which are prepared
	pool := store.Pool()
	var all, ready sync.WaitGroup
	var from time.Time
	begin := make(chan struct{})
	for _, batches := range r.conns {
		ready.Add(1)
		all.Go(func() {
			conn, err := pool.Acquire(context.Background())
			ready.Done()
			<-begin
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Release()
			for _, batch := range batches {
				if err := conn.SendBatch(context.Background(), batch).Close(); err != nil {
					b.Error(fmt.Errorf("replaying %s: %w", batch.QueuedQueries[0].SQL, err))
					return
				}
			}
		})
	}
	ready.Wait()
	from = time.Now()
	close(begin)
	all.Wait()
	return time.Since(from)
}
