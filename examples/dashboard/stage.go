package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/examples/internal/narrate"
	"github.com/berth-go/berth/examples/internal/scene"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/workspace"
	"github.com/berth-go/berth/orchestrator/dirsnapshots"
	"github.com/berth-go/berth/pool"
)

// A stage is a pool that can be used: on this machine's engine, or on fakes.
type stage struct {
	provider *berth.Provider
	repos    []string
	left     func(context.Context) ([]string, error) // what is still there of the pool
	close    func()                                  // called after the Provider has ended

	cloud  *fake.Cloud // nil on this machine's engine
	engine *fake.Engine
}

// config has the settings that both kinds of stage share.
func config(o options, out *narrate.Printer) berth.Config {
	return berth.Config{
		Name: o.pool, MaxTasksPerInstance: 4, InstanceIdleTimeout: 2 * time.Minute, MetricRepositories: 5, UsageLabels: []string{"team"},
		PricePerHour: func(pool.Machine) (usd float64, ok bool) { return 0.0832, true },
		OnEvent: func(e berth.Event) {
			switch {
			case e.Type == berth.EventInstanceChange && e.Err != nil:
				out.Say("Instance %s is %s: %v", e.Instance, e.Message, e.Err)
			case e.Type == berth.EventContainerLost:
				out.Say("Container %s is lost: %v", e.Container, e.Err)
			}
		},
	}
}

// newStage opens a pool, which keeps the work of its tasks in a directory as long as it runs.
func newStage(ctx context.Context, o options, out *narrate.Printer, cfg berth.Config) (st *stage, err error) {
	dir, err := os.MkdirTemp("", "berth-dashboard-")
	if err != nil {
		return nil, err
	}
	if cfg.Snapshots, err = dirsnapshots.New(dirsnapshots.Config{Dir: dir}); err == nil {
		cfg.SaveWork = berth.SaveToSnapshots
		st, err = openStage(ctx, o, out, cfg)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	closeStage := st.close
	st.close = func() {
		closeStage()
		if err := os.RemoveAll(dir); err != nil {
			out.Say("%v", err)
		}
	}
	return st, nil
}

func openStage(ctx context.Context, o options, out *narrate.Printer, cfg berth.Config) (*stage, error) {
	if o.fake {
		out.Say("Pool %s is made of fakes", o.pool)
		return newFakeStage(cfg)
	}
	docker, err := scene.Connect(ctx)
	switch {
	case err == nil:
		return newEngineStage(ctx, docker, out, cfg)
	case ctx.Err() != nil:
		return nil, err
	}
	out.Say("No Docker engine answers (%v), so pool %s is made of fakes", err, o.pool)
	return newFakeStage(cfg)
}

// newFakeStage opens a pool of up to three instances that take time as real ones do, only less.
func newFakeStage(cfg berth.Config) (*stage, error) {
	cfg.MinInstances, cfg.MaxInstances = 1, 3
	cloud := fake.NewCloud(fake.CloudOptions{})
	engine := fake.NewEngine(fake.EngineOptions{Cloud: cloud, Run: pretend})
	p, err := fake.NewProvider(fake.Options{Config: cfg, Cloud: cloud, Engine: engine})
	if err != nil {
		return nil, err
	}
	st := &stage{provider: p, cloud: cloud, engine: engine, close: func() { engine.Close() }}
	for _, name := range []string{"shop", "billing", "search", "mobile", "docs", "infra"} {
		st.repos = append(st.repos, "https://git.acme.invalid/acme/"+name+".git")
	}
	st.left = func(context.Context) (names []string, err error) {
		for _, m := range cloud.Machines() {
			if m.State != pool.MachineEnding && m.State != pool.MachineEnded {
				names = append(names, "machine "+m.CloudID)
			}
		}
		return names, nil
	}
	return st, nil
}

// pretend does what the commands of load would do.
func pretend(ctx context.Context, c fake.Command) int {
	if c.Args[0] != "sleep" {
		fmt.Fprintln(c.Stdout, "4d1f0aa Begin the work")
		return 0
	}
	d, err := time.ParseDuration(c.Args[1] + "s")
	if err != nil {
		return 1
	}
	select {
	case <-time.After(d):
		return 0
	case <-ctx.Done():
		return -9
	}
}

// newEngineStage makes the workspace image if the engine lacks it, serves two repositories, and opens a pool of this machine.
func newEngineStage(ctx context.Context, docker *client.Client, out *narrate.Printer, cfg berth.Config) (*stage, error) {
	out.Say("Pool %s is on the Docker engine at %s", cfg.Name, docker.DaemonHost())
	image, err := workspace.Ensure(ctx, docker, func(line string) { out.Say("%s", line) })
	if err != nil {
		docker.Close()
		return nil, err
	}
	shop, billing := scene.Repos()
	server, err := gittest.Serve(ctx, docker, shop, billing)
	if err != nil {
		docker.Close()
		return nil, err
	}
	st := &stage{repos: []string{server.URL(shop), server.URL(billing)}, close: func() {
		server.Close()
		docker.Close()
	}}
	cfg.Image, cfg.Egress = image, gittest.Egress(st.repos...)
	if st.provider, err = berth.NewLocalProvider(ctx, cfg); err != nil {
		st.close()
		return nil, err
	}
	st.left = func(ctx context.Context) ([]string, error) { return scene.Labelled(ctx, docker, cfg.Name, true) }
	return st, nil
}
