package session_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/session"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// planner is a Member that holds, as it thinks, the planner's lease.
type planner store.Lease

func (p planner) MayAct(context.Context) error                        { return nil }
func (p planner) Acting(ctx context.Context) (context.Context, error) { return ctx, nil }
func (p planner) Planner() *store.Lease                               { return (*store.Lease)(&p) }
func put(t *testing.T, st store.Store, records ...store.Record) {
	t.Helper()
	err := st.Update(t.Context(), nil, func(tx store.Tx) error {
		for _, r := range records {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOnlyThePlannerLeads: a process that was paused for longer than its lease finds sessions to end and records to
// remove, by what it knew. Each of its writes checks whether it still plans.
func TestOnlyThePlannerLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle, retention = 10 * time.Minute, 10 * time.Minute
		repository, err := naming.ParseRepository("https://github.com/acme/rocket")
		if err != nil {
			t.Fatal(err)
		}
		st, stale := memstore.New(), store.Lease{ID: "planner", Holder: "r-paused", Fence: 1}
		active := &store.Session{
			ID: "s-active", TaskID: "t1", SharingKey: naming.Key{Repository: repository}, Container: "c-gone", IdleTimeout: idle,
			State: store.SessionActive, Beat: 7, LeaseUntil: time.Now().Add(-time.Second),
		}
		old := &store.Session{ID: "s-old", TaskID: "t2", State: store.SessionEnded, EndedAt: time.Now().Add(-2 * retention)}
		put(t, st, &store.Pool{UID: "u"}, active, old, &store.Lease{ID: "planner", Holder: "r-other", Fence: 2})

		engine := fake.NewEngine(fake.EngineOptions{})
		defer engine.Close()
		containers := orchestrator.NewManager(orchestrator.Config{Pool: "p", PoolUID: "u", Replica: "r-paused", Store: st, Engine: engine})
		defer containers.Close()
		m := session.New(t.Context(), session.Config{
			Replica: "r-paused", Store: st, Containers: containers, Member: planner(stale), Retention: retention,
			Failures: loop.NewFailures(t.Context(), slog.New(slog.DiscardHandler)),
		})
		if _, removed := m.LeadOnce(t.Context(), stale); !errors.Is(removed, store.ErrFenced) {
			t.Errorf("removing a session that ended long ago: %v", removed)
		}
		time.Sleep(idle + idle/10)
		if expired, _ := m.LeadOnce(t.Context(), stale); !errors.Is(expired[active.ID], store.ErrFenced) {
			t.Errorf("ending a session that expired: %v", expired)
		}
		now, err := store.Read[*store.Session](t.Context(), st, active.Key())
		if err != nil || now.State != store.SessionActive {
			t.Errorf("the session is %+v, %v", now, err)
		}
		if kept, err := store.Read[*store.Session](t.Context(), st, old.Key()); err != nil || kept == nil {
			t.Errorf("the old record was removed: %v", err)
		}

		current := store.Lease{ID: "planner", Holder: "r-other", Fence: 2}
		if _, removed := m.LeadOnce(t.Context(), current); removed != nil {
			t.Error(removed)
		}
		if kept, err := store.Read[*store.Session](t.Context(), st, old.Key()); err != nil || kept != nil {
			t.Errorf("the planner has not removed the old record: %v", err)
		}
	})
}
