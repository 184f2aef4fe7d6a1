package telemetry

import (
	"context"
	"errors"

	"github.com/berth-go/berth/pool"
)

// Cloud returns a Cloud that measures the calls of another one. It is Versioned, Pinned and an Explainer as far as that one
// is. It is never Stationary.
func (t *Telemetry) Cloud(cloud pool.Cloud) pool.Cloud {
	if t == nil {
		return cloud
	}
	c := measuredCloud{cloud, t}
	versioned, isVersioned := cloud.(pool.Versioned)
	pinned, isPinned := cloud.(pool.Pinned)
	explainer, isExplainer := cloud.(pool.Explainer)
	v, e := measuredVersioned{versioned, t}, measuredExplainer{explainer, t}
	switch {
	case isVersioned && isPinned && isExplainer:
		return struct {
			measuredCloud
			measuredVersioned
			pool.Pinned
			measuredExplainer
		}{c, v, pinned, e}
	case isVersioned && isPinned:
		return struct {
			measuredCloud
			measuredVersioned
			pool.Pinned
		}{c, v, pinned}
	case isVersioned && isExplainer:
		return struct {
			measuredCloud
			measuredVersioned
			measuredExplainer
		}{c, v, e}
	case isVersioned:
		return struct {
			measuredCloud
			measuredVersioned
		}{c, v}
	case isExplainer:
		return struct {
			measuredCloud
			measuredExplainer
		}{c, e}
	}
	return c
}

type measuredCloud struct {
	cloud pool.Cloud
	t     *Telemetry
}

// Prepare implements pool.Cloud.
func (c measuredCloud) Prepare(ctx context.Context, s pool.Spec) (pool.Frozen, error) {
	ctx, r := c.t.calls.prepare.begin(ctx)
	frozen, err := c.cloud.Prepare(ctx, s)
	r.end(err)
	return frozen, err
}

// Launch implements pool.Cloud.
func (c measuredCloud) Launch(ctx context.Context, id string, f pool.Frozen) (pool.Machine, error) {
	ctx, r := c.t.calls.launch.begin(ctx)
	machine, err := c.cloud.Launch(ctx, id, f)
	r.end(err)
	return machine, err
}

// List implements pool.Cloud.
func (c measuredCloud) List(ctx context.Context) ([]pool.Machine, error) {
	ctx, r := c.t.calls.list.begin(ctx)
	machines, err := c.cloud.List(ctx)
	r.end(err)
	return machines, err
}

// Terminate implements pool.Cloud. A call that could not end each of its machines counts as failed.
func (c measuredCloud) Terminate(ctx context.Context, cloudIDs ...string) (map[string]error, error) {
	ctx, r := c.t.calls.terminate.begin(ctx)
	failed, err := c.cloud.Terminate(ctx, cloudIDs...)
	all := err
	for _, err := range failed {
		all = errors.Join(all, err)
	}
	r.end(all)
	return failed, err
}

type measuredVersioned struct {
	versioned pool.Versioned
	t         *Telemetry
}

// Generation implements pool.Versioned.
func (v measuredVersioned) Generation(ctx context.Context) (string, error) {
	ctx, r := v.t.calls.generation.begin(ctx)
	generation, err := v.versioned.Generation(ctx)
	r.end(err)
	return generation, err
}

type measuredExplainer struct {
	explainer pool.Explainer
	t         *Telemetry
}

// Explain implements pool.Explainer.
func (e measuredExplainer) Explain(ctx context.Context, cloudID string) (string, error) {
	ctx, r := e.t.calls.explain.begin(ctx)
	text, err := e.explainer.Explain(ctx, cloudID)
	r.end(err)
	return text, err
}
