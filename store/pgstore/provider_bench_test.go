package pgstore_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/pgtest"
)

// BenchmarkProvider is a CreateSession and its TerminateSession by 64 callers, over a cloud and an engine that take no
// time: what the store costs a real provider. The sessions join containers that others hold.
func BenchmarkProvider(b *testing.B) {
	for _, repositories := range []int{1, 50} {
		b.Run(fmt.Sprintf("repositories=%d", repositories), func(b *testing.B) {
			server := pgtest.Shared(b)
			tape := newRecorder()
			cloud := fake.NewCloud(fake.CloudOptions{Instant: true})
			p, err := fake.NewProvider(fake.Options{
				Config: berth.Config{
					Store:               openTraced(b, server.DSN(server.Database(b)), tape),
					MaxTasksPerInstance: 2000, MaxInstances: 10, LaunchRate: -1,
				},
				Cloud: cloud, Engine: fake.NewEngine(fake.EngineOptions{Cloud: cloud, Instant: true}),
			})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			ctx := context.Background()
			create := func(task, repository int) (*berth.Session, error) {
				return p.CreateSession(ctx, berth.SessionRequest{
					TaskID: fmt.Sprintf("task%d", task), UserID: fmt.Sprintf("user%d", task%1000),
					Repository: fmt.Sprintf("https://git.example/org/repo%d.git", repository),
				})
			}
			for r := range repositories {
				if _, err := create(-r-1, r); err != nil {
					b.Fatal(err)
				}
			}
			before := tape.transactions()
			var n atomic.Int64
			var all sync.WaitGroup
			b.ResetTimer()
			for range callers {
				all.Go(func() {
					for i := int(n.Add(1)); i <= b.N; i = int(n.Add(1)) {
						s, err := create(i, i%repositories)
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
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
			for name, count := range tape.transactions() {
				b.ReportMetric(float64(count-before[name])/float64(b.N), name+"/pair")
			}
		})
	}
}
