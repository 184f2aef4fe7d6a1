package main

import (
	"context"
	"slices"
	"strings"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/gittest"
	"github.com/berth-go/berth/internal/workspace"
	"github.com/berth-go/berth/pool/localcloud"
)

// connect returns a client of the engine that berth.NewLocalProvider uses, if it answers: that of DOCKER_HOST, or the one
// behind the first of the platform's usual sockets that is there.
func connect(ctx context.Context) (*client.Client, error) {
	docker, err := client.New(client.WithHost(localcloud.DefaultAddress()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if _, err := docker.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		docker.Close()
		return nil, err
	}
	return docker, nil
}

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
		shop, billing := sampleRepos()
		server, err := gittest.Serve(ctx, docker, shop, billing)
		if err != nil {
			return nil, err
		}
		closers = append(closers, server.Close)
		repos = []string{server.URL(shop), server.URL(billing)}
	}
	cfg := config(out, pool)
	cfg.Image = image
	p, err := berth.NewLocalProvider(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &stage{
		pool: pool, provider: p, repos: repos, close: closeAll,
		things: func(ctx context.Context, everything bool) ([]string, error) {
			return labelled(ctx, docker, pool, everything)
		},
		asked: "docker ps -a --filter label=berth.pool=" + pool,
	}, nil
}

// labelled asks the engine what carries the pool's label.
func labelled(ctx context.Context, docker *client.Client, pool string, everything bool) (names []string, err error) {
	filters := make(client.Filters).Add("label", "berth.pool="+pool)
	containers, err := docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	if err != nil {
		return nil, err
	}
	for _, c := range containers.Items {
		names = append(names, strings.TrimPrefix(strings.Join(c.Names, " "), "/"))
	}
	slices.Sort(names)
	if !everything {
		return names, nil
	}
	volumes, err := docker.VolumeList(ctx, client.VolumeListOptions{Filters: filters})
	if err != nil {
		return nil, err
	}
	for _, v := range volumes.Items {
		names = append(names, "volume "+v.Name)
	}
	networks, err := docker.NetworkList(ctx, client.NetworkListOptions{Filters: filters})
	if err != nil {
		return nil, err
	}
	for _, n := range networks.Items {
		names = append(names, "network "+n.Name)
	}
	return names, nil
}

// sampleRepos makes two small repositories in memory.
func sampleRepos() (shop, billing *gittest.Repo) {
	shop = gittest.NewRepo("acme/shop")
	shop.Commit("main", "Begin the shop", map[string]string{
		"README.md":     "# shop\n",
		"go.mod":        "module acme.invalid/shop\n\ngo 1.26\n",
		"cart/cart.go":  "// Package cart holds what a customer is about to buy.\npackage cart\n",
		"login/user.go": "// Package login knows the customers.\npackage login\n",
	})
	shop.Commit("main", "Let customers log in", map[string]string{
		"login/login.go": "package login\n\n// Allowed says whether a customer may come in.\nfunc Allowed(name string) bool { return name != \"\" }\n",
	})
	billing = gittest.NewRepo("acme/billing")
	billing.Commit("main", "Send invoices", map[string]string{
		"README.md":  "# billing\n",
		"invoice.py": "def total(items):\n    return sum(i.price for i in items)\n",
	})
	return shop, billing
}
