package main

import (
	"context"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/examples/internal/scene"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/workspace"
)

// newEngineStage makes the workspace image if the engine lacks it, serves the repositories, and opens a pool.
func newEngineStage(ctx context.Context, out *printer, docker *client.Client, pool string, repos []string) (st *stage, err error) {
	closers := []func() error{docker.Close}
	closeAll := func() {
		for _, c := range closers {
			c()
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	out.printf("Docker engine at %s, pool %s\n", docker.DaemonHost(), pool)
	image, err := workspace.Ensure(ctx, docker, out.progress)
	if err != nil {
		return nil, err
	}
	if len(repos) == 0 {
		shop, billing := scene.Repos()
		server, err := gittest.Serve(ctx, docker, shop, billing)
		if err != nil {
			return nil, err
		}
		closers = append(closers, server.Close)
		repos = []string{server.URL(shop), server.URL(billing)}
	}
	cfg := config(out, pool)
	cfg.Egress = gittest.Egress(repos...)
	cfg.Image = image
	p, err := berth.NewLocalProvider(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &stage{
		pool: pool, provider: p, repos: repos, close: closeAll,
		things: func(ctx context.Context, everything bool) ([]string, error) {
			return scene.Labelled(ctx, docker, pool, everything)
		},
		asked: "docker ps -a --filter label=berth.kind=container --filter label=berth.pool=" + pool,
	}, nil
}
