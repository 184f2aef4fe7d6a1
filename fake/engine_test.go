package fake_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/enginetest"
)

func TestEngineConformance(t *testing.T) {
	for name, instant := range map[string]bool{"with latency": false, "instant": true} {
		t.Run(name, func(t *testing.T) {
			enginetest.Run(t, enginetest.Harness{
				Bubble: synctest.Test,
				New:    func(t *testing.T) enginetest.Rig { return newRig(t, instant) },
			})
		})
	}
}

func newRig(t *testing.T, instant bool) enginetest.Rig {
	const address, nowhere, elsewhere = "tcp://10.0.0.1:2376", "tcp://10.0.0.2:2376", "tcp://10.0.0.3:2376"
	e := fake.NewEngine(fake.EngineOptions{
		Instant:  instant,
		Images:   []string{"image"},
		Commands: enginetest.Programs,
		Run: func(ctx context.Context, c fake.Command) int {
			return enginetest.Execute(ctx, enginetest.Invocation{
				Args: c.Args, Env: c.Env, Dir: c.Dir, Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, Files: c.Files,
				Signals: c.Signals, Size: c.Terminal.Size, Listen: c.Listen, Credential: c.Credential, SSHAgent: c.SSHAgent,
			})
		},
	})
	t.Cleanup(func() { e.Close() })
	e.Unreachable(nowhere)
	e.WrongHost(elsewhere)
	return enginetest.Rig{
		Engine:      e,
		Pool:        orchestrator.Endpoint{Pool: "one", PoolUID: "uid-1", Launch: "launch-1", Address: address},
		Other:       orchestrator.Endpoint{Pool: "two", PoolUID: "uid-2", Launch: "launch-1", Address: address},
		Image:       "image",
		Remote:      newRemote(e, "https://example.org/ann/first.git"),
		Second:      newRemote(e, "https://example.org/ann/second.git"),
		Unreachable: nowhere,
		WrongHost:   elsewhere,

		KillContainer:   func(t *testing.T, name string) { e.KillContainer(name) },
		KillOutOfMemory: func(t *testing.T, name string) { e.DieOutOfMemory(name) },
		UseMemory:       func(t *testing.T, name, session string) { e.OutOfMemory(name, session) },
		FillDisk: func(t *testing.T, name string, s agent.Session) {
			e.FillDisk(name, s.ID, "disk: used 32 MiB of 16 MiB")
		},
		RemoveContainer: func(t *testing.T, name string) { e.RemoveContainer(name) },
		BreakMirror:     func(t *testing.T, name string) { e.BreakMirror(name) },
		PlantStranger:   func(t *testing.T, name string) string { return e.PlantStranger(address, name) },
		Stranger: func(t *testing.T, name string) string {
			for _, c := range e.Containers() {
				if c.Name == name && c.Pool == "" && c.Running {
					return c.ID
				}
			}
			return ""
		},
		PlantResources: func(t *testing.T, at orchestrator.Endpoint) (ids []string) {
			for _, kind := range []string{fake.ResourceHelper, fake.ResourceWork} {
				ids = append(ids, e.PlantResource(address, at.Pool, at.PoolUID, kind))
			}
			return ids
		},
		RefuseRooms:    func(t *testing.T, reason string) { e.RefuseRooms(address, reason) },
		CutConnections: func(t *testing.T) { e.CutConnections(address) },
	}
}

func newRemote(e *fake.Engine, url string) enginetest.Remote {
	beside := strings.Repeat("be51de", 10)[:40]
	e.SetRepository(url, fake.Repo{Branches: []string{"next"}, Tags: []string{"v1"}, Commits: []string{beside}})
	const proxy = "http://proxy.example.org:3128"
	hidden := strings.TrimSuffix(url, ".git") + "-hidden.git"
	e.SetRepository(hidden, fake.Repo{Proxy: proxy})
	return enginetest.Remote{
		Tag: "v1", Tagged: e.Tags(url)["v1"], Beside: beside,
		Flake: func() {
			e.Flake(url, 1, &agent.GitError{Op: "fetch", Message: "The requested URL returned error: 503"})
		},
		URL: url, Default: "main", Branch: "next", Hidden: hidden, Proxy: proxy,
		Head:   func(branch string) string { return e.Heads(url)[branch] },
		Commit: func(t *testing.T, branch string) { e.Push(url, branch) },
		Refuse: func(refuse bool) {
			if !refuse {
				e.Refuse(url, nil)
				return
			}
			e.Refuse(url, &agent.GitError{Op: "fetch", Message: "fatal: the remote end hung up unexpectedly"})
		},
		Hang:     func(hang bool) { e.HangRemote(url, hang) },
		Requests: func() int { return e.Requests(url) },
		Lock: func(lock bool) (user, password string) {
			if lock {
				password = "opensesame"
			}
			e.Lock(url, password)
			return "ann", password
		},
	}
}
