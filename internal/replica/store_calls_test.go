package replica_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// counted is a store that counts its calls.
type counted struct {
	store.Store
	views, updates atomic.Int64
}

func (s *counted) View(ctx context.Context, fn func(store.View) error) error {
	s.views.Add(1)
	return s.Store.View(ctx, fn)
}

func (s *counted) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	s.updates.Add(1)
	return s.Store.Update(ctx, keys, fn)
}

// TestASessionCostsFewCallsOfTheStore: each call is a round trip to a database. A session takes two transactions to
// begin and two to end. The queue makes one more call when a slot becomes free. A command reads its session once.
func TestASessionCostsFewCallsOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records := &counted{Store: memstore.New()}
		cloud := fake.NewCloud(fake.CloudOptions{Instant: true})
		p, err := fake.NewProvider(fake.Options{
			Config: berth.Config{Store: records, SpareSlots: 1}, Cloud: cloud,
			Engine: fake.NewEngine(fake.EngineOptions{Cloud: cloud, Instant: true}),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		world.Create(t, p, world.Request("holds-it", world.RepoA))
		time.Sleep(time.Minute + 500*time.Millisecond) // between two rounds of the loops
		synctest.Wait()
		calls := func() (views, updates int64) {
			synctest.Wait()
			return records.views.Swap(0), records.updates.Swap(0)
		}
		calls()
		s := world.Create(t, p, world.Request("joins-it", world.RepoA))
		if s.Info().Instance.Address == "" {
			t.Error("the handle does not know the instance's address")
		}
		if views, updates := calls(); views != 0 || updates != 2 {
			t.Errorf("CreateSession: %d Views and %d Updates, want 0 and 2", views, updates)
		}
		if err := s.Command(t.Context(), "true").Run(); err != nil {
			t.Fatal(err)
		}
		if views, updates := calls(); views != 1 || updates != 0 {
			t.Errorf("a command: %d Views and %d Updates, want 1 and 0", views, updates)
		}
		if err := p.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Fatal(err)
		}
		if views, updates := calls(); views > 1 || updates != 2 {
			t.Errorf("TerminateSession: %d Views and %d Updates, want 1 and 2", views, updates)
		}
	})
}
