package replica_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
)

// TestThePlannersSettingsAreInForce runs two processes with different settings on one pool, and then closes the
// planner.
func TestThePlannersSettingsAreInForce(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		time.Sleep(time.Second) // until it is the planner
		var log bytes.Buffer
		w.Config.Logger = slog.New(slog.NewTextHandler(&log, nil))
		w.Config.MaxInstances, w.Config.MaxContainersPerRepository = 4, 3
		w.Config.Image, w.Config.EC2.BootScript = "other", "true" // these need not agree, and are reported all the same
		second := w.NewProvider()
		recorded := func() (generation int, settings map[string]string) {
			w.View(func(v store.View) error {
				record, err := store.Get[*store.Pool](v, store.PoolKey())
				generation, settings = record.SettingsGeneration, record.Settings
				return err
			})
			return generation, settings
		}
		time.Sleep(time.Minute)
		generation, settings := recorded()
		if generation != 1 || settings["MaxContainersPerRepository"] != "1" {
			t.Errorf("generation %d with %v", generation, settings)
		}
		if n := strings.Count(log.String(), "MaxContainersPerRepository is 1, not 3"); n != 1 {
			t.Errorf("the log says %d times that its settings differ:\n%s", n, &log)
		}
		if got := second.Stats().ConfigDiffers; len(got) != 4 {
			t.Errorf("its statistics say %q", got)
		}
		if got := w.Stats().ConfigDiffers; len(got) != 0 {
			t.Errorf("those of the planner say %q", got)
		}
		w.Close()
		time.Sleep(time.Minute)
		generation, settings = recorded()
		if generation != 2 || settings["MaxContainersPerRepository"] != "3" {
			t.Errorf("after the planner has gone: generation %d with %v", generation, settings)
		}
		if got := second.Stats().ConfigDiffers; len(got) != 0 {
			t.Errorf("its statistics still say %q", got)
		}
	})
}
