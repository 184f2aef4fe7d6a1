package dockerengine

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

var errHostClosed = errors.New("the connection to the engine was closed")

// host implements [orchestrator.Host] for one pool. It owns the starts of containers that are under way. Each of its parts
// implements some methods of the interface, or serves the starts.
type host struct {
	*daemon
	*agents
	*images
	*prober
	*remover
	*resources
	bridge    *bridge
	installer *installer
	warden    *warden
	making    flights[orchestrator.Container] // by name
	early     early
}

var (
	_ orchestrator.Host       = (*host)(nil)
	_ orchestrator.Prefetcher = (*host)(nil)
)

func (e *Engine) newHost(docker *client.Client, at orchestrator.Endpoint, on machine) (*host, error) {
	agent, err := loadProgram(e.opts, at.Pool, on.arch)
	if err != nil {
		return nil, fmt.Errorf("the Docker engine at %s: %w", at.Address, err)
	}
	d := &daemon{opts: e.opts, log: e.opts.Logger.With("launch", at.Launch, "engine", at.Address), docker: docker, at: at, machine: on}
	connections := &agents{daemon: d, manager: rand.Text()}
	others := &resources{d}
	programs := &installer{daemon: d, program: agent, resources: others}
	h := &host{
		daemon:    d,
		agents:    connections,
		images:    &images{daemon: d},
		remover:   &remover{daemon: d, agents: connections, resources: others},
		resources: others,
		bridge:    &bridge{daemon: d},
		installer: programs,
	}
	h.warden = newWarden(programs, connections, &h.early)
	h.prober = &prober{daemon: d, seen: &e.seen, warden: h.warden}
	return h, nil
}

// Close implements [orchestrator.Host].
func (h *host) Close() error {
	h.early.stop()
	h.making.close()
	h.images.pulls.close()
	h.bridge.making.close()
	h.warden.making.close()
	h.installer.filling.close()
	h.agents.attached.close()
	return h.docker.Close()
}
