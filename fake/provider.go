package fake

import (
	"context"
	"errors"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store/memstore"
)

// Options configures NewProvider. Its zero value is a pool over a fresh Cloud and Engine with their defaults.
type Options struct {
	// Config is the Provider's own. A nil Cloud or Engine in it is the one below. A nil Store is a memstore.
	Config  berth.Config
	Cloud   *Cloud  // nil = the Engine's own, or NewCloud(CloudOptions{})
	Engine  *Engine // nil = NewEngine(EngineOptions{Cloud: Cloud, Run: Run}); with a Cloud, it must have been made with that Cloud
	Instant bool    // the parts that NewProvider makes take no time, and Config.LaunchRate is -1 by default
	// Run does the work of the sessions' commands, if NewProvider makes the Engine; see EngineOptions.
	Run func(ctx context.Context, cmd Command) int
}

// NewProvider returns the real Provider over fake drivers and a Store in memory, for the unit tests of a host
// application: real states and real errors, without Docker and AWS. It works inside and outside a testing/synctest
// bubble. Inside, Close or Destroy it before the bubble ends, even while commands run: see "How a test ends" above.
//
// An Engine that was made without the given Cloud is refused: its containers would live on when the Cloud's machines end. If
// no Cloud is given, the Engine may have none.
func NewProvider(opts Options) (*berth.Provider, error) {
	cfg := opts.Config
	given, engine := cloudOf(cfg.Cloud), engineOf(cfg.Engine)
	if cfg.Cloud == nil {
		given = opts.Cloud
	}
	if cfg.Engine == nil {
		engine = opts.Engine
	}
	if engine != nil && given != nil && engine.opts.Cloud != given {
		return nil, errors.New("fake: the Engine was made without the Cloud: set EngineOptions.Cloud")
	}
	cloud := given
	if cloud == nil && engine != nil {
		cloud = engine.opts.Cloud
	}
	if cfg.Cloud == nil {
		if cloud == nil {
			cloud = NewCloud(CloudOptions{Instant: opts.Instant})
		}
		cfg.Cloud = cloud
	}
	if cfg.Engine == nil {
		made := engine
		if made == nil {
			made = NewEngine(EngineOptions{Cloud: cloud, Run: opts.Run, Instant: opts.Instant})
		}
		cfg.Engine = made
	}
	if driver, ok := clientOf(cfg.Engine); ok {
		driver.runs = &runs{last: engine == nil || cfg.Store == nil}
		cfg.Engine = driver
	}
	if cfg.Store == nil {
		cfg.Store = memstore.New()
	}
	if opts.Instant && cfg.LaunchRate == 0 {
		cfg.LaunchRate = -1
	}
	return berth.New(context.Background(), cfg)
}

// cloudOf returns the Cloud behind a driver, which may be the result of As. It returns nil for another kind of driver.
func cloudOf(driver pool.Cloud) *Cloud {
	switch c := driver.(type) {
	case *Cloud:
		return c
	case cloudClient:
		return c.cloud
	}
	return nil
}

// engineOf is cloudOf for an Engine.
func engineOf(driver orchestrator.Engine) *Engine {
	c, _ := clientOf(driver)
	return c.engine
}

// clientOf returns one caller's view of an Engine. ok is false for another kind of driver.
func clientOf(driver orchestrator.Engine) (c engineClient, ok bool) {
	switch e := driver.(type) {
	case *Engine:
		return engineClient{engine: e}, true
	case engineClient:
		return e, true
	}
	return engineClient{}, false
}
