package dockerengine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

var errHostClosed = errors.New("the connection to the engine was closed")

// host is the Docker engine of one instance, as one pool sees it.
type host struct {
	opts    Options
	log     *slog.Logger
	docker  *client.Client
	at      orchestrator.Endpoint
	seen    *identities // of the Engine
	agent   program
	manager string // this host's name among those who use a container

	containers flights[orchestrator.Container] // by name
	images     flights[struct{}]               // by reference: pulls
	networks   flights[string]                 // one key
	programs   flights[struct{}]               // one key

	attached attachments

	mu         sync.Mutex // protects the fields below
	network    string     // ID of the pool's network; "" = not known
	agentReady bool       // the volume of the agent holds it
	canary     string     // ID of the container that answered the last probe
}

var _ orchestrator.Host = (*host)(nil)

func (e *Engine) newHost(docker *client.Client, at orchestrator.Endpoint, arch string) (*host, error) {
	agent, err := loadProgram(e.opts, at.Pool, arch)
	if err != nil {
		return nil, fmt.Errorf("the Docker engine at %s: %w", at.Address, err)
	}
	return &host{
		opts:    e.opts,
		log:     e.opts.Logger.With("launch", at.Launch, "engine", at.Address),
		docker:  docker,
		at:      at,
		seen:    &e.seen,
		agent:   agent,
		manager: rand.Text(),
	}, nil
}

// Close implements [orchestrator.Host].
func (h *host) Close() error {
	h.containers.close()
	h.images.close()
	h.networks.close()
	h.programs.close()
	h.attached.close()
	return h.docker.Close()
}

// bound gives a call that should be quick its deadline.
func (h *host) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, h.opts.CallTimeout)
}

// unbroken is for a call whose outcome must be known: it has a deadline, but goes on when the caller gives up.
func unbroken(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}

// pause waits between two looks at the engine.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ignoreAbsent makes the removal of what is gone a success.
func ignoreAbsent(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
