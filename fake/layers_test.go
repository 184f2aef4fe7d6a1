package fake_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// layerIn returns the name of the only layer in a store.
func layerIn(t *testing.T, store orchestrator.SnapshotStore) orchestrator.SnapshotName {
	t.Helper()
	var names []orchestrator.SnapshotName
	for s, err := range store.List(t.Context(), orchestrator.SnapshotLayer) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, s.Name)
	}
	if len(names) != 1 {
		t.Fatalf("the store has the layers %v", names)
	}
	return names[0]
}

// TestLayersInAStore: another instance begins with what one has made, and runs no command. Without the store, or with what is broken in it, it runs
// the commands.
func TestLayersInAStore(t *testing.T) {
	waits := install
	waits.Wait = time.Hour
	for name, c := range map[string]struct {
		meanwhile func(*fake.Snapshots, orchestrator.SnapshotName)
		ran       int
	}{
		"whole":           {func(*fake.Snapshots, orchestrator.SnapshotName) {}, 0},
		"missing":         {func(s *fake.Snapshots, n orchestrator.SnapshotName) { _ = s.Delete(context.Background(), n) }, 1},
		"corrupt":         {(*fake.Snapshots).Corrupt, 1},
		"without content": {(*fake.Snapshots).Lose, 1},
		"cut off":         {func(s *fake.Snapshots, _ orchestrator.SnapshotName) { s.CutReads(1) }, 1},
		"not in reach": {func(s *fake.Snapshots, _ orchestrator.SnapshotName) {
			s.Fail(fake.OpenSnapshot, 1, errors.New("not in reach"))
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := fake.NewSnapshots(fake.SnapshotOptions{})
				with := func(_ *fake.EngineOptions, cfg *berth.Config) { cfg.Snapshots = store }
				first := newWorkshop(t, waits, with)
				if got := first.start("a", ""); got != installed {
					t.Fatalf("the first session finds %q", got)
				}
				first.wait()
				c.meanwhile(store, layerIn(t, store))
				second := newWorkshop(t, waits, with)
				if got := second.start("a", ""); got != installed {
					t.Errorf("a session on another instance finds %q", got)
				}
				second.wait()
				if ran := len(second.seen); ran != c.ran {
					t.Errorf("%d commands ran on the other instance", ran)
				}
				if got := second.Stats().Containers; got.PreparedStored != int64(1-c.ran) || got.Prepared != int64(c.ran) || got.PrepareFailures != 0 {
					t.Errorf("%+v", got)
				}
				layerIn(t, store)
			})
		})
	}
}

// TestPromotedLayersInAStore: what was promoted is there on another instance, where nothing is prepared.
func TestPromotedLayersInAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := fake.NewSnapshots(fake.SnapshotOptions{})
		dirs := orchestrator.Prepare{Dirs: []string{".npm"}}
		with := func(_ *fake.EngineOptions, cfg *berth.Config) { cfg.Snapshots = store }
		first := newWorkshop(t, dirs, with)
		s := first.own("s", nil, map[string]string{"node_modules/dep": "dep"})
		index(t, s, "index")
		if err := first.Promote(t.Context(), s.ID()); err != nil {
			t.Fatal(err)
		}
		first.wait()
		second := newWorkshop(t, dirs, with)
		before := second.start("a", "")
		second.wait()
		if got := second.start("b", ""); got != installed || before != "" {
			t.Errorf("on another instance, the second session finds %q, and the first %q", got, before)
		}
	})
}

// TestLayersOfPrivateRepositories are in no store: they are removed with their session.
func TestLayersOfPrivateRepositories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := fake.NewSnapshots(fake.SnapshotOptions{})
		w := newWorkshop(t, install, func(_ *fake.EngineOptions, cfg *berth.Config) {
			cfg.Snapshots, cfg.Sharing.Private = store, func(naming.Repository) bool { return true }
		})
		w.start("a", "")
		w.wait()
		if n := store.Contents(); n != 0 {
			t.Errorf("%d contents are in the store", n)
		}
	})
}
