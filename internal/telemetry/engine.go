package telemetry

import (
	"context"

	"github.com/berth-go/berth/orchestrator"
)

// Engine returns an Engine that measures the calls of another one, of its Hosts and of their connections to agents. It also
// tells of the phases of a start that happen there, and of commands. It is a Releaser if that Engine is one, and its Hosts are
// Prefetchers as far as those are.
func (t *Telemetry) Engine(engine orchestrator.Engine) orchestrator.Engine {
	if t == nil {
		return engine
	}
	e := measuredEngine{engine, t}
	if releaser, ok := engine.(orchestrator.Releaser); ok {
		return struct {
			measuredEngine
			orchestrator.Releaser
		}{e, releaser}
	}
	return e
}

type measuredEngine struct {
	engine orchestrator.Engine
	t      *Telemetry
}

// Connect implements orchestrator.Engine.
func (e measuredEngine) Connect(ctx context.Context, at orchestrator.Endpoint) (orchestrator.Host, error) {
	ctx, r := e.t.calls.connect.begin(ctx)
	host, err := e.engine.Connect(ctx, at)
	r.end(err)
	if err != nil {
		return nil, err
	}
	h := measuredHost{host, e.t}
	if prefetcher, ok := host.(orchestrator.Prefetcher); ok {
		return struct {
			measuredHost
			measuredPrefetcher
		}{h, measuredPrefetcher{prefetcher, e.t}}, nil
	}
	return h, nil
}

// measuredHost measures what the Host that it embeds does.
type measuredHost struct {
	orchestrator.Host
	t *Telemetry
}

// Probe implements orchestrator.Host.
func (h measuredHost) Probe(ctx context.Context) error {
	ctx, r := h.t.calls.probe.begin(ctx)
	err := h.Host.Probe(ctx)
	r.end(err)
	return err
}

// Ensure implements orchestrator.Host.
func (h measuredHost) Ensure(ctx context.Context, spec orchestrator.ContainerSpec, progress func(string)) (orchestrator.Container, error) {
	ctx, phase := h.t.Phase(ctx, PhaseCreate)
	made, err := h.Host.Ensure(ctx, spec, progress)
	if made.Pulled > 0 {
		h.t.Passed(ctx, PhasePull, made.PullBegan, made.Pulled)
	}
	phase.end(made.Pulled, err)
	return made, err
}

// List implements orchestrator.Host.
func (h measuredHost) List(ctx context.Context) (orchestrator.Inventory, error) {
	ctx, r := h.t.calls.inventory.begin(ctx)
	all, err := h.Host.List(ctx)
	r.end(err)
	return all, err
}

// Remove implements orchestrator.Host.
func (h measuredHost) Remove(ctx context.Context, name, id string) error {
	ctx, r := h.t.calls.remove.begin(ctx)
	err := h.Host.Remove(ctx, name, id)
	r.end(err)
	return err
}

// RemoveMirror implements orchestrator.Host.
func (h measuredHost) RemoveMirror(ctx context.Context, name string) error {
	ctx, r := h.t.calls.removeMirror.begin(ctx)
	err := h.Host.RemoveMirror(ctx, name)
	r.end(err)
	return err
}

// RemoveResource implements orchestrator.Host.
func (h measuredHost) RemoveResource(ctx context.Context, resource orchestrator.Resource) error {
	ctx, r := h.t.calls.removeResource.begin(ctx)
	err := h.Host.RemoveResource(ctx, resource)
	r.end(err)
	return err
}

// Attach implements orchestrator.Host.
func (h measuredHost) Attach(ctx context.Context, container string) (orchestrator.Inside, error) {
	ctx, r := h.t.calls.attach.begin(ctx)
	inside, err := h.Host.Attach(ctx, container)
	r.end(err)
	if err != nil {
		return nil, err
	}
	return &measuredInside{inside, h.t}, nil
}

// Purge implements orchestrator.Host.
func (h measuredHost) Purge(ctx context.Context) error {
	ctx, r := h.t.calls.purge.begin(ctx)
	err := h.Host.Purge(ctx)
	r.end(err)
	return err
}

type measuredPrefetcher struct {
	prefetcher orchestrator.Prefetcher
	t          *Telemetry
}

// Prefetch implements orchestrator.Prefetcher.
func (p measuredPrefetcher) Prefetch(ctx context.Context, image string, progress func(string)) error {
	ctx, r := p.t.calls.prefetch.begin(ctx)
	err := p.prefetcher.Prefetch(ctx, image, progress)
	r.end(err)
	return err
}
