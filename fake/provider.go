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
	// Config is the Provider's own. Its Cloud, Engine and Store, where nil, are the ones below.
	Config  berth.Config
	Cloud   *Cloud  // nil = the Engine's own, or NewCloud(CloudOptions{})
	Engine  *Engine // nil = NewEngine(EngineOptions{Cloud: Cloud, Run: Run}); beside a Cloud, it must have been made with that
	Instant bool    // nothing that is made here takes any time, and Config.LaunchRate is -1 by default
	// Run is what the sessions' commands do, for an Engine that is made here; see EngineOptions.
	Run func(ctx context.Context, cmd Command) int
}

// NewProvider returns the real Provider over fake drivers and a Store in memory, for the unit tests of a host
// application: real states and real errors, without Docker and AWS. It works inside and outside a testing/synctest
// bubble; inside, Close it before the bubble ends.
//
// An Engine that does not know the Cloud is refused: what happens to the Cloud's machines would not touch its containers.
// Without a Cloud that the caller could use, an Engine may do without.
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
		if engine == nil {
			engine = NewEngine(EngineOptions{Cloud: cloud, Run: opts.Run, Instant: opts.Instant})
		}
		cfg.Engine = engine
	}
	if cfg.Store == nil {
		cfg.Store = memstore.New()
	}
	if opts.Instant && cfg.LaunchRate == 0 {
		cfg.LaunchRate = -1
	}
	return berth.New(context.Background(), cfg)
}

// cloudOf returns the Cloud that a driver is, also as one caller has it; nil if it is another kind.
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
	switch e := driver.(type) {
	case *Engine:
		return e
	case engineClient:
		return e.engine
	}
	return nil
}
