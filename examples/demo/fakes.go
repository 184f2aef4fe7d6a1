package main

import (
	"context"
	"fmt"

	"github.com/berth-go/berth/fake"
)

// newFakeStage opens a pool of the real Provider over a cloud and an engine in memory.
func newFakeStage(out *printer, pool string, repos []string) (*stage, error) {
	if len(repos) == 0 {
		repos = []string{"https://git.acme.invalid/acme/shop.git", "https://git.acme.invalid/acme/billing.git"}
	}
	cloud := fake.NewCloud(fake.CloudOptions{Instant: true})
	engine := fake.NewEngine(fake.EngineOptions{Cloud: cloud, Run: pretend})
	p, err := fake.NewProvider(fake.Options{Config: config(out, pool), Cloud: cloud, Engine: engine})
	if err != nil {
		return nil, err
	}
	things := func(_ context.Context, everything bool) (names []string, err error) {
		for _, c := range engine.Containers() {
			names = append(names, c.Name)
		}
		if everything {
			for _, m := range engine.Mirrors() {
				names = append(names, "volume "+m.Name)
			}
		}
		return names, nil
	}
	return &stage{
		pool: pool, provider: p, repos: repos, simulated: true, close: func() { engine.Close() },
		things: things, asked: "fake.Engine.Containers",
	}, nil
}

// pretend does what the story's commands would do in a real container.
func pretend(_ context.Context, c fake.Command) int {
	switch c.Args[0] {
	case "sh": // see look
		fmt.Fprintf(c.Stdout, "%d\n%s\n%s\nNo commit: this is a fake\n", c.UID, c.Container, c.Dir)
		return 0
	case "ls":
		fmt.Fprintf(c.Stderr, "ls: cannot access '%s': No such file or directory\n", c.Args[len(c.Args)-1])
		return 2
	}
	return 127
}
