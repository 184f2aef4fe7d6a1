package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

const maxCanaries = 4 // containers that a probe looks at, at most

// Probe implements [orchestrator.Host]. An engine that hangs goes on answering pings, so a probe climbs as far as one
// of our own containers. Each step has its share of the time that is left, so that the error can say which one failed.
//
// One container that hangs does not make the engine useless: the others serve their sessions, and new ones can be
// made. So it is enough that one of several answers. Where there is but one, and it hangs, nothing tells that from an
// engine that hangs, and the probe fails.
func (h *host) Probe(ctx context.Context) error {
	ctx, cancel := h.bound(ctx)
	defer cancel()
	var running []container.Summary
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"it was sent a ping", func(ctx context.Context) error {
			_, err := h.docker.Ping(ctx, client.PingOptions{})
			return err
		}},
		{"it was asked for its containers", func(ctx context.Context) error {
			list, err := h.docker.ContainerList(ctx, client.ContainerListOptions{Filters: h.filter(kindContainer)})
			running = list.Items
			return err
		}},
		{"it was asked about a container", func(ctx context.Context) error { return h.inspectOne(ctx, running) }},
		{"it was asked who it is", h.identifyAgain},
		{"it was told that its manager lives", h.touch},
		{"it was asked for notices", h.notice},
	}
	for i, step := range steps {
		ctx, cancel := share(ctx, len(steps)-i)
		err := step.do(ctx)
		cancel()
		if isNotice(err) {
			return err
		}
		if err != nil {
			return explain(h.at.Address, fmt.Errorf("%s: %w", step.what, err))
		}
	}
	return nil
}

// identifyAgain looks whether it is still the same engine. It is no failure that the engine takes its time: Docker 20.10
// answers to this only when it has looked up the address of the registry that it pulls from, and works well otherwise.
func (h *host) identifyAgain(ctx context.Context) error {
	_, err := h.seen.identify(ctx, h.docker, h.at)
	if errors.Is(err, context.DeadlineExceeded) {
		h.log.Warn("the engine did not say in time who it is", "error", err)
		return nil
	}
	return err
}

// inspectOne returns nil when one of the containers answers, or there is none. The one that did last time comes first:
// an engine never ends a call that waits for a container that hangs, so those are better left alone.
func (h *host) inspectOne(ctx context.Context, running []container.Summary) error {
	h.mu.Lock()
	canary := h.canary
	h.mu.Unlock()
	if i := slices.IndexFunc(running, func(c container.Summary) bool { return c.ID == canary }); i > 0 {
		running[0], running[i] = running[i], running[0]
	}
	running = running[:min(len(running), maxCanaries)]
	var failed error
	for i, c := range running {
		ctx, cancel := share(ctx, len(running)-i)
		_, err := h.docker.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
		cancel()
		if err == nil || errdefs.IsNotFound(err) { // it has just gone
			h.mu.Lock()
			h.canary = c.ID
			h.mu.Unlock()
			return nil
		}
		failed = fmt.Errorf("%s: %w", nameOf(c.Names), err)
		h.log.Warn("a container does not answer", "container", nameOf(c.Names), "error", err)
	}
	return failed
}

// share gives a step its part of the time that is left for n of them. ctx has a deadline.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, _ := ctx.Deadline()
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
}
