package dockerengine

import (
	"context"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

// List implements [orchestrator.Host].
func (h *host) List(ctx context.Context) (orchestrator.Inventory, error) {
	ctx, cancel := h.bound(ctx)
	defer cancel()
	var held orchestrator.Inventory
	containers, err := h.docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: h.filter(kindContainer)})
	if err != nil {
		return held, explain(h.at.Address, err)
	}
	for _, c := range containers.Items {
		held.Containers = append(held.Containers, orchestrator.Container{
			Name:    nameOf(c.Names),
			ID:      c.ID,
			Key:     keyOf(c.Labels),
			PoolUID: c.Labels[labelPoolUID],
			Running: c.State == container.StateRunning,
			Created: time.Unix(c.Created, 0),
		})
	}
	volumes, err := h.docker.VolumeList(ctx, client.VolumeListOptions{Filters: h.filter(kindMirror)})
	if err != nil {
		return held, explain(h.at.Address, err)
	}
	for _, v := range volumes.Items {
		held.Mirrors = append(held.Mirrors, orchestrator.Mirror{
			Name:    v.Name,
			Key:     keyOf(v.Labels),
			Created: timeOf(v.CreatedAt),
		})
	}
	return held, nil
}

// containerOf translates what an engine says of a container that was there already.
func containerOf(found container.InspectResponse) orchestrator.Container {
	return orchestrator.Container{
		Name:    strings.TrimPrefix(found.Name, "/"),
		ID:      found.ID,
		Key:     keyOf(found.Config.Labels),
		PoolUID: found.Config.Labels[labelPoolUID],
		Running: found.State.Running,
		Created: timeOf(found.Created),
		Adopted: true,
	}
}

// nameOf returns a container's own name; the others are links to it.
func nameOf(names []string) string {
	for _, name := range names {
		if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
			return name
		}
	}
	return ""
}

// timeOf reads an engine's time; zero if there is none.
func timeOf(text string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, text)
	return t
}
