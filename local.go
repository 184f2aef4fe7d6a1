package berth

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
	"github.com/berth-go/berth/pool/localcloud"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// connectTimeout bounds how long NewLocalProvider waits for the engine to answer.
const connectTimeout = 10 * time.Second

// NewLocalProvider returns a Provider whose one instance is the Docker engine of this machine, or of DOCKER_HOST. It
// sets Config.Cloud, Engine, MinInstances, MaxInstances, InstanceIdleTimeout and MaxInstanceAge itself. The error says
// so, with the address, when no engine answers or when it may not be used.
//
// DOCKER_HOST is unix:// or tcp:// without TLS. With DOCKER_TLS_VERIFY, with ssh:// and with npipe://, which is where
// engines are on Windows, the error says what to do. DOCKER_CERT_PATH and Docker's contexts are not looked at.
//
// With a Store in memory, defer Destroy rather than Close: nobody finds the containers again.
func NewLocalProvider(ctx context.Context, cfg Config) (*Provider, error) {
	if cfg.Store == nil {
		cfg.Store = memstore.New()
	}
	address, records := localcloud.DefaultAddress(), cfg.Store
	if err := usable(address); err != nil {
		return nil, fmt.Errorf("berth: %w", err)
	}
	cfg.Cloud = localcloud.New(localcloud.Options{
		Address: address, Launch: func(ctx context.Context) (string, error) { return localLaunch(ctx, records) },
	})
	cfg.Engine = dockerengine.New(dockerengine.Options{RegistryAuth: cfg.RegistryAuth, Logger: cfg.Logger})
	cfg.MinInstances, cfg.MaxInstances, cfg.InstanceIdleTimeout, cfg.MaxInstanceAge = 1, 1, -1, -1
	checked := cfg.withDefaults()
	if err := checked.validate(); err != nil {
		return nil, err
	}
	if err := reach(ctx, cfg.Engine, orchestrator.Endpoint{Pool: checked.Name, Address: address}); err != nil {
		return nil, fmt.Errorf("berth: %w", err)
	}
	return New(ctx, cfg)
}

// reach returns nil when the engine takes work.
func reach(ctx context.Context, engine orchestrator.Engine, e orchestrator.Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	h, err := engine.Connect(ctx, e)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.Probe(ctx)
}

// localLaunch returns the launch that has this machine by the records of this process, of another, or of an earlier run.
func localLaunch(ctx context.Context, st store.Store) (id string, err error) {
	err = st.View(ctx, func(v store.View) error {
		all, err := v.Instances(store.InstanceQuery{Page: store.Page{Limit: 1}})
		if len(all) > 0 && all[0].CloudID != "" {
			id = all[0].ID
		}
		return err
	})
	return id, err
}
