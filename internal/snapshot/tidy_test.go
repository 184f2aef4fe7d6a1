package snapshot_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/snapshot"
	"github.com/berth-go/berth/orchestrator"
)

// TestTidy: a prepared layer goes when it was stored long ago, and what sessions have kept goes as the host wants.
func TestTidy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		store := fake.NewSnapshots(fake.SnapshotOptions{})
		put := func(kind orchestrator.SnapshotKind, key string) {
			t.Helper()
			if _, err := store.Put(ctx, orchestrator.SnapshotName{Kind: kind, Key: key}, strings.NewReader(key)); err != nil {
				t.Fatal(err)
			}
		}
		put(orchestrator.SnapshotLayer, "old")
		put(orchestrator.SnapshotSession, "kept")
		done := make(chan struct{})
		go func() {
			defer close(done)
			snapshot.Tidy(ctx, store, orchestrator.Retention{}, loop.NewFailures(ctx, slog.New(slog.DiscardHandler)))
		}()
		time.Sleep(20 * 24 * time.Hour)
		put(orchestrator.SnapshotLayer, "newer")
		has := func(want string) {
			t.Helper()
			var names []string
			for s, err := range store.List(ctx, "") {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, s.Name.String())
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("the store has %q, want %q", got, want)
			}
		}
		has("layer/newer layer/old session/kept")
		time.Sleep(11 * 24 * time.Hour)
		has("layer/newer session/kept")
		cancel()
		<-done
	})
}
