package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/orchestrator"
)

// Purge implements [orchestrator.Host].
func (h *host) Purge(ctx context.Context) error {
	defer h.early.stop()()
	h.awaitStarts(ctx)
	held, err := h.List(ctx)
	if err != nil {
		return err
	}
	var failed []error
	shared := false // with a living process of another store
	for _, c := range held.Containers {
		err := h.Remove(ctx, c.Name, "")
		shared = shared || errors.Is(err, orchestrator.ErrInUse)
		failed = append(failed, ignoreInUse(err))
	}
	h.awaitHelpers(ctx)
	if held, err = h.List(ctx); err != nil { // again, because some volumes went with their containers
		failed = append(failed, err)
	}
	failed = append(failed, h.removeUnused(ctx, held, shared))
	h.installer.forget()
	h.warden.forget()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("removing everything of pool %q from the Docker engine at %s: %w", h.at.Pool, h.at.Address, err)
	}
	return nil
}

// removalGrace is how long Purge waits for an engine to let go of what removed containers have used.
const removalGrace = 10 * time.Second

// removeUnused removes resources and mirrors, except those that are in use. An engine may still remove a container when it has
// said that the removal was under way already, so what is in use is tried again unless the engine is shared.
func (h *host) removeUnused(ctx context.Context, held orchestrator.Inventory, shared bool) error {
	var failed []error
	patience, cancel := context.WithTimeout(ctx, removalGrace)
	defer cancel()
	loop.Retry(patience, settlePauses, func() (done bool) {
		var used orchestrator.Inventory
		for _, r := range held.Resources { // List has containers first, then volumes, then networks
			err := h.RemoveResource(ctx, r)
			if errors.Is(err, orchestrator.ErrInUse) {
				used.Resources = append(used.Resources, r)
			}
			failed = append(failed, ignoreInUse(err))
		}
		for _, m := range held.Mirrors {
			err := h.RemoveMirror(ctx, m.Name)
			if errors.Is(err, orchestrator.ErrInUse) {
				used.Mirrors = append(used.Mirrors, m)
			}
			failed = append(failed, ignoreInUse(err))
		}
		held = used
		return shared || len(used.Resources)+len(used.Mirrors) == 0
	})
	return errors.Join(failed...)
}

// abandonedGrace is how long Purge waits for starts whose callers have given up, and which finish what they have begun.
const abandonedGrace = 10 * time.Second

// awaitStarts returns when no start of this host is under way, or abandonedGrace is over.
func (h *host) awaitStarts(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, abandonedGrace)
	defer cancel()
	h.making.drain(ctx)
	h.warden.making.drain(ctx)
	h.installer.filling.drain(ctx)
}

// helperGrace is how long Purge waits for a living process of another store with this pool's name to finish with its
// helper. That takes a moment. A process that takes longer makes another helper.
const helperGrace = 5 * time.Second

// awaitHelpers returns when there is no helper of another store, or helperGrace is over.
func (h *host) awaitHelpers(ctx context.Context) {
	other := func(c container.Summary) bool { return c.Labels[labelPoolUID] != h.at.PoolUID }
	for end := time.Now().Add(helperGrace); time.Now().Before(end); {
		list, err := h.listContainers(ctx, true, h.filter(kindHelper))
		if err != nil || !slices.ContainsFunc(list, other) || loop.Sleep(ctx, settlePauses.Longest) != nil {
			return
		}
	}
}

func ignoreInUse(err error) error {
	if errors.Is(err, orchestrator.ErrInUse) {
		return nil
	}
	return err
}
