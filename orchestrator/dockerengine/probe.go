package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

const maxCanaries = 4 // the most containers that a probe asks about

// prober asks the engine whether it takes work.
type prober struct {
	*daemon
	seen   *identities // of the Engine
	warden *warden

	mu     sync.Mutex // protects canary
	canary string     // ID of the container that answered the last probe
}

// Probe implements [orchestrator.Host]. An engine that hangs still answers pings, so a probe also asks about one of the
// pool's containers. Each step has its share of the time that is left, so that the error says which step failed.
//
// An engine with one container that hangs is still of use: the other containers serve their sessions, and new ones can be
// made. So it is enough that one of several containers answers. If there is only one and it hangs, that looks like an engine
// that hangs, and the probe fails.
func (p *prober) Probe(ctx context.Context) error {
	ctx, cancel := p.bound(ctx)
	defer cancel()
	var running []container.Summary
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"it was sent a ping", func(ctx context.Context) error {
			_, err := p.docker.Ping(ctx, client.PingOptions{})
			return err
		}},
		{"it was asked for its containers", func(ctx context.Context) error {
			all, err := p.listContainers(ctx, false, p.filter(""))
			running = slices.DeleteFunc(slices.Clone(all), func(c container.Summary) bool { return c.Labels[labelKind] != kindContainer })
			if err == nil {
				p.warden.tend(all)
			}
			return err
		}},
		{"it was asked about a container", func(ctx context.Context) error { return p.inspectOne(ctx, running) }},
		{"it was asked who it is", p.identifyAgain},
		{"it was told that its manager lives", p.touch},
		{"it was asked for notices", p.notice},
	}
	for i, step := range steps {
		ctx, cancel := share(ctx, len(steps)-i)
		err := step.do(ctx)
		cancel()
		if isNotice(err) {
			return err
		}
		if err != nil {
			return explain(p.at.Address, fmt.Errorf("%s: %w", step.what, err))
		}
	}
	return nil
}

// identifyAgain checks that it is still the same engine. An engine that does not answer in time has not failed: Docker 20.10
// answers this question only after it has looked up the address of its registry, and may work well otherwise.
func (p *prober) identifyAgain(ctx context.Context) error {
	_, err := p.seen.identify(ctx, p.docker, p.at)
	if errors.Is(err, context.DeadlineExceeded) {
		p.log.Warn("the engine did not say in time who it is", "error", err)
		return nil
	}
	return err
}

// inspectOne returns nil if the engine answers about one of the containers, or if there is none. It begins with the
// container of the last answer, because an engine never ends a call about a container that hangs.
func (p *prober) inspectOne(ctx context.Context, running []container.Summary) error {
	p.mu.Lock()
	canary := p.canary
	p.mu.Unlock()
	if i := slices.IndexFunc(running, func(c container.Summary) bool { return c.ID == canary }); i > 0 {
		running[0], running[i] = running[i], running[0]
	}
	running = running[:min(len(running), maxCanaries)]
	var failed error
	for i, c := range running {
		ctx, cancel := share(ctx, len(running)-i)
		_, err := p.inspect(ctx, c.ID)
		cancel()
		if err == nil || errdefs.IsNotFound(err) { // not found: it was just removed
			p.mu.Lock()
			p.canary = c.ID
			p.mu.Unlock()
			return nil
		}
		failed = fmt.Errorf("%s: %w", nameOf(c.Names), err)
		p.log.Warn("the engine does not answer about a container", "container", nameOf(c.Names), "error", err)
	}
	return failed
}

// share returns a context for one of n steps. Its deadline is the step's share of the time that ctx, which has a deadline,
// has left.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, _ := ctx.Deadline()
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
}
