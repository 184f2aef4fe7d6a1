// Package world is a kit for tests of berth: a Provider over the fakes, in virtual time, with its events, log and
// records. No program links it.
package world

import (
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
	"github.com/berth-go/berth/store/storetest"
)

// World is a pool over fakes.
type World struct {
	*berth.Provider
	T      *testing.T
	Cloud  *fake.Cloud
	Engine *fake.Engine
	Store  store.Store  // of NewProvider
	Config berth.Config // of NewProvider, apart from Cloud, Engine and Store

	log Log

	mu     sync.Mutex // protects events
	events []berth.Event
}

// Setup says how a World differs from the usual one.
type Setup struct {
	berth.Config
	Engine fake.EngineOptions
	Cloud  fake.CloudOptions
	Skew   func() time.Duration // by how much the wall clock of every process is ahead; nil = not at all
}

// Run runs a test in virtual time. It closes the pool when the test ends.
func Run(t *testing.T, s Setup, test func(t *testing.T, w *World)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &World{T: t, Cloud: fake.NewCloud(s.Cloud), Store: storetest.Strict(memstore.New()), Config: s.Config}
		if s.Skew != nil {
			w.Store = storetest.Skew(w.Store, s.Skew)
		}
		s.Engine.Cloud = w.Cloud
		w.Engine = fake.NewEngine(s.Engine)
		w.Config.OnEvent = w.note
		w.Config.Logger = slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		t.Cleanup(func() { w.Engine.Close() })
		w.Provider = w.NewProvider()
		test(t, w)
	})
}

// NewProvider makes one more Provider over the same store. It is closed when the test ends.
func (w *World) NewProvider() *berth.Provider {
	w.T.Helper()
	return w.NewProviderOn(w.Store)
}

// NewProviderOn is NewProvider over another store, such as one that fails.
func (w *World) NewProviderOn(records store.Store) *berth.Provider {
	w.T.Helper()
	cfg := w.Config
	cfg.Cloud, cfg.Engine, cfg.Store = w.Cloud, w.Engine, records
	p, err := berth.New(w.T.Context(), cfg)
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() { p.Close() })
	return p
}

func (w *World) note(e berth.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// Events returns the events of some types so far, in their order. Without types it returns all of them.
func (w *World) Events(types ...berth.EventType) []berth.Event {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.events), func(e berth.Event) bool {
		return len(types) > 0 && !slices.Contains(types, e.Type)
	})
}

// LogText returns what was logged so far.
func (w *World) LogText() string { return w.log.String() }

// After sleeps, and then waits until every goroutine is idle.
func After(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
