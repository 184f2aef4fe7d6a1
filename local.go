package berth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
	"github.com/berth-go/berth/pool/localcloud"
	"github.com/berth-go/berth/store"
)

// connectTimeout bounds how long NewLocalProvider waits for the engine to answer. A probe gives a sixth of it to a ping, which a busy machine
// answers late.
const connectTimeout = 30 * time.Second

// NewLocalProvider returns a Provider whose one instance is the Docker engine of this machine, or that of DOCKER_HOST. It
// sets Config.Cloud, Engine, MinInstances, MaxInstances, InstanceIdleTimeout and MaxInstanceAge itself. If no engine
// answers, the error is an ErrUnavailable. The error names the engine's address.
//
// DOCKER_HOST is unix:// or tcp:// without TLS. With DOCKER_TLS_VERIFY, with ssh:// and with npipe://, the address of engines
// on Windows, the error is a *FieldError that says what to do. DOCKER_CERT_PATH and Docker's contexts are ignored.
//
// Containers fetch from no private address unless Config.Egress.Remotes has it, also not from a git server on this machine: see
// docs/operations.md, "Git servers with private addresses".
//
// With a Store in memory, defer Destroy rather than Close: no later process finds the containers.
func NewLocalProvider(ctx context.Context, cfg Config) (*Provider, error) {
	address, st := localcloud.DefaultAddress(), boundStore(cfg.Store)
	if err := localcloud.CheckAddress(address); err != nil {
		return nil, &FieldError{Field: "DOCKER_HOST", Reason: err.Error()}
	}
	cfg.Cloud = localcloud.New(localcloud.Options{
		Address: address, Launch: func(ctx context.Context) (string, error) { return localLaunch(ctx, st) },
	})
	cfg.Engine = dockerengine.New(dockerengine.Options{RegistryAuth: cfg.RegistryAuth, Runtime: cfg.Runtime, Logger: cfg.Logger})
	cfg.MinInstances, cfg.MaxInstances, cfg.InstanceIdleTimeout, cfg.MaxInstanceAge = 1, 1, -1, -1
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := reach(ctx, cfg.Engine, orchestrator.Endpoint{Pool: cfg.Name, Address: address}); err != nil {
		if ctx.Err() == nil && errors.Is(err, orchestrator.ErrUnreachable) {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return nil, fmt.Errorf("berth: %w", err)
	}
	return newProvider(ctx, cfg, st, launching{})
}

// reach returns nil if the engine answers and accepts work.
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

// localLaunch returns the ID of the launch that the records give this machine: this process or another made them, now or in
// an earlier run.
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
