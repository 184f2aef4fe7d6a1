package berth_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

// TestThePlannersSettingsAreInForce runs two processes with different settings on one pool, and then the other one alone.
func TestThePlannersSettingsAreInForce(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		time.Sleep(time.Second) // it plans
		var log bytes.Buffer
		w.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		w.cfg.MaxInstances, w.cfg.MaxContainersPerRepository = 4, 3
		w.cfg.Image, w.cfg.EC2.BootScript = "other", "true" // these are its own, and are told all the same
		second := w.provider()
		recorded := func() (generation int, settings map[string]string) {
			w.view(func(v store.View) error {
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
			t.Errorf("it was told %d times that its settings differ:\n%s", n, &log)
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
