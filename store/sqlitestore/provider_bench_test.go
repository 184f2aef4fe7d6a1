package sqlitestore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/store/sqlitestore"
)

// fleet is the store of a closed provider over fakes that take no time.
type fleet struct {
	path   string
	cloud  *fake.Cloud
	engine *fake.Engine
}

func newFleet(b *testing.B) *fleet {
	cloud := fake.NewCloud(fake.CloudOptions{Instant: true})
	engine := fake.NewEngine(fake.EngineOptions{Cloud: cloud, Instant: true})
	return &fleet{filepath.Join(b.TempDir(), "berth.db"), cloud, engine}
}

// open opens the store and the provider over it.
func (f *fleet) open(b *testing.B, instances, slots int) (p *berth.Provider, closeBoth func()) {
	b.Helper()
	st, err := sqlitestore.Open(b.Context(), f.path)
	if err != nil {
		b.Fatal(err)
	}
	p, err = fake.NewProvider(fake.Options{Cloud: f.cloud, Engine: f.engine, Config: berth.Config{
		Store: st, MaxTasksPerInstance: slots, MinInstances: instances, MaxInstances: instances, LaunchRate: -1, SessionIdleTimeout: -1,
	}})
	if err != nil {
		b.Fatal(err)
	}
	return p, func() {
		if err := p.Close(); err != nil {
			b.Error(err)
		}
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	}
}

// concurrently runs fn for the numbers below n, 64 at a time.
func concurrently(b *testing.B, n int, fn func(i int) error) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := fn(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func create(p *berth.Provider, task string, repository int) (*berth.Session, error) {
	return p.CreateSession(context.Background(), berth.SessionRequest{
		TaskID: task, UserID: "user-" + task, Repository: fmt.Sprintf("https://git.example/org/repo%d.git", repository),
	})
}

// BenchmarkProvider is a CreateSession that joins a running container and its TerminateSession, 64 at a time, by the real
// provider over fakes that take no time: all that is left is the control plane and this store.
func BenchmarkProvider(b *testing.B) {
	const repositories = 50
	p, closeBoth := newFleet(b).open(b, repositories, 2000) // nobody waits for a slot
	defer closeBoth()
	concurrently(b, repositories, func(i int) error {
		_, err := create(p, fmt.Sprintf("holds-%d", i), i)
		return err
	})
	b.ResetTimer()
	concurrently(b, b.N, func(i int) error {
		s, err := create(p, fmt.Sprintf("task-%d", i), i%repositories)
		if err != nil {
			return err
		}
		return p.TerminateSession(context.Background(), s.ID())
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
}

// BenchmarkProviderStart opens the store and the provider of a fleet of 1,000 full instances with 100,000 sessions, and
// creates one more.
func BenchmarkProviderStart(b *testing.B) {
	const instances, slots = 1000, 100
	const live = instances*slots - slots // the last instance is for the sessions that are measured
	f := newFleet(b)
	p, closeBoth := f.open(b, instances, slots)
	began := time.Now()
	for r := range live / slots { // one after another: a container lies on the fullest instance, and is to have all of its slots
		concurrently(b, slots, func(i int) error {
			_, err := create(p, fmt.Sprintf("live-%d-%d", r, i), r)
			return err
		})
	}
	b.Logf("%.0f creates per second", live/time.Since(began).Seconds())
	if _, err := create(p, "first", instances); err != nil {
		b.Fatal(err)
	}
	closeBoth()
	i := 0
	for b.Loop() {
		p, closeBoth := f.open(b, instances, slots)
		s, err := create(p, fmt.Sprintf("task-%d", i), instances)
		i++
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := p.TerminateSession(context.Background(), s.ID()); err != nil {
			b.Fatal(err)
		}
		closeBoth()
		b.StartTimer()
	}
}
