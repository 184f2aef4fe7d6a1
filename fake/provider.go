package fake

import (
	"context"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/store/memstore"
)

// Options configures NewProvider. Its zero value is a pool over a fresh Cloud and Engine with their defaults.
type Options struct {
	// Config is the Provider's own. Its Cloud, Engine and Store, where nil, are the ones below.
	Config  berth.Config
	Cloud   *Cloud  // nil = NewCloud(CloudOptions{})
	Engine  *Engine // nil = NewEngine(EngineOptions{Cloud: Cloud, Run: Run})
	Instant bool    // nothing that is made here takes any time, and Config.LaunchRate is -1 by default
	// Run is what the sessions' commands do, for an Engine that is made here; see EngineOptions.
	Run func(ctx context.Context, cmd Command) int
}

// NewProvider returns the real Provider over fake drivers and a Store in memory, for the unit tests of a host
// application: real states and real errors, without Docker and AWS. It works inside and outside a testing/synctest
// bubble; inside, Close it before the bubble ends.
func NewProvider(opts Options) (*berth.Provider, error) {
	cfg := opts.Config
	if cfg.Cloud == nil {
		if opts.Cloud == nil {
			opts.Cloud = NewCloud(CloudOptions{Instant: opts.Instant})
		}
		cfg.Cloud = opts.Cloud
	}
	if cfg.Engine == nil {
		if opts.Engine == nil {
			opts.Engine = NewEngine(EngineOptions{Cloud: opts.Cloud, Run: opts.Run, Instant: opts.Instant})
		}
		cfg.Engine = opts.Engine
	}
	if cfg.Store == nil {
		cfg.Store = memstore.New()
	}
	if opts.Instant && cfg.LaunchRate == 0 {
		cfg.LaunchRate = -1
	}
	return berth.New(context.Background(), cfg)
}
