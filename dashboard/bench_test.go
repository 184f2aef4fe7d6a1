//go:build unix

package dashboard_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
	"github.com/berth-go/berth/store/pgstore"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// The size of the pool of the benchmarks.
const (
	manySessions     = 100_000
	manyInstances    = 1000
	manyRepositories = 5000
)

// fill writes the records of a large pool. A lease that another process seems to hold keeps this one from planning it.
func fill(b testing.TB, st store.Store) {
	b.Helper()
	var batch []store.Record
	flush := func() {
		b.Helper()
		var keys []store.Key
		for _, r := range batch {
			keys = append(keys, r.Key())
		}
		err := st.Update(context.Background(), keys, func(tx store.Tx) error {
			for _, r := range batch {
				if err := tx.Put(r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		batch = nil
	}
	put := func(r store.Record) {
		b.Helper()
		if batch = append(batch, r); len(batch) == 1000 {
			flush()
		}
	}
	now := time.Now()
	put(&store.Pool{UID: "uid", Instances: manyInstances, Settings: map[string]string{"MaxInstances": "1200", "InstanceIdleTimeout": "10m0s", "UsageLabels": "team"}})
	put(&store.Lease{ID: "planner", Holder: "r-other", Fence: 1, Beat: 1, Term: 1000 * time.Hour})
	for i := range manyInstances {
		put(&store.Instance{
			ID: fmt.Sprintf("berth-%013d", i), State: store.InstanceReady, Since: now.Add(-time.Hour), CreatedAt: now.Add(-2 * time.Hour),
			CloudID: fmt.Sprintf("i-%017d", i), Address: "tcp://10.0.0.1:2376", Type: "m7i.4xlarge", Zone: "eu-central-1a", Slots: 100, Sessions: 90, Isolation: store.IsolationRooms,
		})
	}
	key := func(i int) naming.Key {
		return naming.Key{Repository: naming.Repository{Host: "github.com", Path: fmt.Sprintf("team-%d/service-number-%d", i%200, i)}}
	}
	for i := range manyRepositories {
		put(&store.Container{
			ID: fmt.Sprintf("c-%d", i), Name: key(i).ContainerName("berth"), SharingKey: key(i), Instance: fmt.Sprintf("berth-%013d", i%manyInstances),
			State: store.ContainerReady, Since: now.Add(-time.Hour), CreatedAt: now.Add(-time.Hour), EngineID: strings.Repeat("e", 64), Sessions: 18,
		})
	}
	for i := range manySessions {
		r := session(i, now, key(i%manyRepositories))
		put(r)
	}
	for hour := range 24 {
		for i := range 500 {
			put(&store.Usage{ID: store.UsageID(now.Add(-time.Duration(hour)*time.Hour), strconv.Itoa(i)), Repo: key(i).Repository.String(), User: fmt.Sprintf("user-%d", i),
				Type: "m7i.4xlarge", Used: 1e9, Held: 9e9, Attached: 9, Cold: 1, Cost: 1e9})
		}
	}
	flush()
}

// session is one of many. One in ten has ended.
func session(i int, now time.Time, key naming.Key) *store.Session {
	repo := i % manyRepositories
	s := &store.Session{
		ID: fmt.Sprintf("s-%013d", i), TaskID: fmt.Sprintf("task-%d-of-a-usual-length", i), UserID: fmt.Sprintf("user-%d", i%3000), SharingKey: key,
		Remote: "https://" + key.Repository.String() + ".git", Branch: "main", CheckedOut: "main", Labels: map[string]string{"team": fmt.Sprintf("team-%d", i%200)},
		State: store.SessionActive, CreatedAt: now.Add(-time.Duration(manySessions-i) * 10 * time.Millisecond), Took: 42 * time.Millisecond, Start: store.StartAttached,
		Container: fmt.Sprintf("c-%d", repo), ContainerName: key.ContainerName("berth"), Instance: fmt.Sprintf("berth-%013d", repo%manyInstances), UID: 10000 + i%50000,
		EngineID: strings.Repeat("e", 64), Workdir: "/sessions/x/service", LeaseUntil: now.Add(time.Hour), Owner: "r-other",
	}
	if i%10 == 0 {
		s.State, s.EndedAt, s.End = store.SessionEnded, now.Add(-time.Minute), store.Failure{Reason: store.EndTerminated}
	}
	return s
}

// large is a dashboard over a large pool.
func large(b *testing.B, st store.Store) http.Handler {
	b.Helper()
	fill(b, st)
	p, err := fake.NewProvider(fake.Options{Config: berth.Config{Store: st, MaxInstances: 1200}, Instant: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	mux := http.NewServeMux()
	mux.Handle("/berth/", http.StripPrefix("/berth", dashboard.Handler(p, dashboard.Options{})))
	return mux
}

// stores are those that benchmarks run on.
func stores(b *testing.B, run func(b *testing.B, st store.Store)) {
	b.Run("memstore", func(b *testing.B) { run(b, memstore.New()) })
	b.Run("pgstore", func(b *testing.B) {
		server := pgtest.Shared(b)
		st, err := pgstore.Open(b.Context(), server.DSN(server.Database(b)), pgstore.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { st.Close() })
		run(b, st)
	})
}

// BenchmarkDashboardPages makes each page of a large pool. Each request has another URL, so that no page is taken from the cache.
// The task has ended: no agent is asked for its commands.
func BenchmarkDashboardPages(b *testing.B) {
	stores(b, func(b *testing.B, st store.Store) {
		h := large(b, st)
		n := 0
		get := func(b *testing.B, path string) int {
			n++
			w := httptest.NewRecorder()
			mark := "?"
			if strings.Contains(path, "?") {
				mark = "&"
			}
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/berth/"+path+mark+"fresh="+strconv.Itoa(n), nil))
			if w.Code != http.StatusOK {
				b.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
			}
			return w.Body.Len()
		}
		begun := time.Now()
		get(b, "")
		b.Logf("the first page, for which everything is read: %v", time.Since(begun))
		for _, path := range []string{
			"", "?sort=-cost&q=service", "repository?name=github.com%2Fteam-7%2Fservice-number-7", "tasks", "tasks?q=number-4999", "tasks?state=all&page=1900",
			"tasks?label=team%3Dteam-7&state=ended", "tasks/s-0000000000010", "instances", "queue", "events", "usage", "api/tasks", "api/tasks?limit=1000",
		} {
			b.Run(strings.NewReplacer("/", "_", "=", "_", "&", "_", "?", "_").Replace("/"+path), func(b *testing.B) {
				size, before := 0, cpu()
				for b.Loop() {
					size = get(b, path)
				}
				b.ReportMetric(float64(cpu()-before)/float64(b.N)/1e6, "cpu-ms/page")
				b.ReportMetric(float64(size), "B/page")
			})
		}
	})
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDashboardWatch has 50 browsers watch a large pool in which 20 sessions begin or end each second. It reports how much of one
// core that costs, with that of the browsers' connections, and without what the changes themselves cost. An operation is 10 s.
func BenchmarkDashboardWatch(b *testing.B) {
	stores(b, func(b *testing.B, st store.Store) {
		h := large(b, st)
		server := httptest.NewServer(h)
		ctx, cancel := context.WithCancel(b.Context())
		b.Cleanup(server.Close)
		paths := []string{"", "tasks", "instances", "queue", "events", "usage", "tasks?q=number-49", "tasks?user=user-7"}
		key := naming.Key{Repository: naming.Repository{Host: "github.com", Path: "team-1/service-number-1"}}
		next := manySessions
		measure := func() time.Duration {
			before, until := cpu(), time.Now().Add(10*time.Second)
			for time.Now().Before(until) {
				r := session(next, time.Now(), key)
				next++
				if err := st.Update(ctx, []store.Key{r.Key()}, func(tx store.Tx) error { return tx.Put(r) }); err != nil {
					b.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond)
			}
			return cpu() - before
		}
		alone := measure()
		var browsers sync.WaitGroup
		updates := make(chan struct{}, 100_000)
		for i := range 50 {
			browsers.Go(func() { browse(ctx, server.URL+"/berth/", paths[i%len(paths)], updates) })
		}
		for range 50 {
			<-updates // each has its page
		}
		for b.Loop() {
			for len(updates) > 0 {
				<-updates
			}
			spent := measure() - alone
			b.ReportMetric(100*float64(spent)/float64(10*time.Second), "%core")
			b.ReportMetric(float64(len(updates))/500, "updates/browser/s")
		}
		cancel()
		server.CloseClientConnections()
		browsers.Wait()
	})
}

// browse does what the script of a page does.
func browse(ctx context.Context, base, path string, updates chan<- struct{}) {
	get := func(url string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		return http.DefaultClient.Do(req)
	}
	stream, err := get(base + "live")
	if err != nil {
		return
	}
	defer stream.Body.Close()
	for lines := bufio.NewScanner(stream.Body); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "data: ") {
			continue
		}
		page, err := get(base + path)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, page.Body)
		page.Body.Close()
		updates <- struct{}{}
	}
}
