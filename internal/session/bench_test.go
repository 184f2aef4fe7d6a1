package session_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

func pairRequest(task, repo int) berth.SessionRequest {
	return berth.SessionRequest{
		TaskID: fmt.Sprintf("task%d", task), UserID: fmt.Sprintf("user%d", task%50),
		Repository: fmt.Sprintf("https://git.example/org/repo%d.git", repo),
	}
}

// instant returns a Provider over fakes that answer at once.
func instant(tb testing.TB, cfg berth.Config) *berth.Provider {
	tb.Helper()
	cfg.LaunchRate = -1
	cloud := fake.NewCloud(fake.CloudOptions{Instant: true})
	p, err := fake.NewProvider(fake.Options{
		Config: cfg, Cloud: cloud, Engine: fake.NewEngine(fake.EngineOptions{Cloud: cloud, Instant: true}),
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { p.Close() })
	return p
}

// BenchmarkPair measures the control plane alone: one CreateSession and its TerminateSession, over fakes that take no
// time. "shared" joins containers that others hold, "own" starts and stops one for each task.
func BenchmarkPair(b *testing.B) {
	var few time.Duration // what a pair took while there were 100
	for _, live := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("shared/live=%d", live), func(b *testing.B) {
			each := benchmarkPairs(b, live, 50)
			if live == 100 {
				few = each
			} else if few > 0 {
				b.ReportMetric(float64(each)/float64(few), "x-live=100")
			}
		})
	}
	b.Run("own", func(b *testing.B) { benchmarkPairs(b, 0, 50) })
}

func benchmarkPairs(b *testing.B, live, repositories int) (each time.Duration) {
	const slots = 2000
	p := instant(b, berth.Config{MaxTasksPerInstance: slots, MaxInstances: 100, SpareSlots: slots})
	ctx := context.Background()
	create := func(task, repo int) *berth.Session {
		s, err := p.CreateSession(ctx, pairRequest(task, repo))
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	var perSession, perHandle float64
	before := heap()
	for i := range live {
		create(-i-1, -i/slots-1) // each of these repositories fills an instance
	}
	if live > 0 {
		dropped := heap()
		perSession = float64(dropped-before) / float64(live)
		held := hold(b, p)
		if len(held) != live {
			b.Fatalf("%d handles of %d sessions", len(held), live)
		}
		perHandle = float64(heap()-dropped) / float64(live)
		runtime.KeepAlive(held)
		for repo := range repositories {
			create(-live-1-repo, repo)
		}
	}
	var n atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := int(n.Add(1))
			s, err := p.CreateSession(ctx, pairRequest(i, i%repositories))
			if err != nil {
				b.Error(err)
				return
			}
			if err := p.TerminateSession(ctx, s.ID()); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
	if live > 0 { // resetting the timer would have dropped it
		b.ReportMetric(perSession, "heap-B/session")
		b.ReportMetric(perHandle, "heap-B/handle") // for a host that keeps the handle and waits for Done
	}
	return b.Elapsed() / time.Duration(b.N)
}

// hold returns the handles of all sessions, as a host keeps them that waits for the sessions to end.
func hold(b *testing.B, p *berth.Provider) []*berth.Session {
	held := make([]*berth.Session, 0, p.Stats().Attached+p.Stats().Cold+p.Stats().Warm)
	for s, err := range p.ListSessions(context.Background(), berth.SessionFilter{}) {
		if err != nil {
			b.Fatal(err)
		}
		s.Done()
		held = append(held, s)
	}
	return held
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkPairBesideAQueue is a pair on one repository while tasks of another wait for a container that is full.
func BenchmarkPairBesideAQueue(b *testing.B) {
	for _, queued := range []int{0, 100, 5000} {
		b.Run(fmt.Sprintf("queued=%d", queued), func(b *testing.B) {
			p := instant(b, berth.Config{MaxTasksPerInstance: 10, MaxInstances: 10, SpareSlots: 10})
			ctx, giveUp := context.WithCancel(context.Background())
			var waiting sync.WaitGroup
			defer waiting.Wait()
			defer giveUp()
			for i := range 10 {
				if _, err := p.CreateSession(ctx, pairRequest(-i-1, 1)); err != nil {
					b.Fatal(err)
				}
			}
			for i := range queued {
				waiting.Go(func() { p.CreateSession(ctx, pairRequest(-i-100, 1)) })
			}
			if _, err := p.CreateSession(ctx, pairRequest(0, 2)); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for i := range b.N {
				s, err := p.CreateSession(ctx, pairRequest(i+1, 2))
				if err != nil {
					b.Fatal(err)
				}
				if err := p.TerminateSession(ctx, s.ID()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
