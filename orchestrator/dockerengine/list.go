package dockerengine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// List implements [orchestrator.Host].
func (h *host) List(ctx context.Context) (orchestrator.Inventory, error) {
	ctx, cancel := h.bound(ctx)
	defer cancel()
	var held orchestrator.Inventory
	containers, err := h.listContainers(ctx, true, h.filter(""))
	if err != nil {
		return held, explain(h.at.Address, err)
	}
	volumes, err := h.listVolumes(ctx, h.filter(""))
	if err != nil {
		return held, explain(h.at.Address, err)
	}
	networks, err := h.bridge.list(ctx)
	if err != nil {
		return held, explain(h.at.Address, err)
	}
	used := h.usedBy(containers)
	used[networks.id()] = true
	for _, c := range containers {
		switch kind := c.Labels[labelKind]; kind {
		case kindContainer:
			held.Containers = append(held.Containers, listed(c))
		case kindWarden:
			held.Resources = append(held.Resources, resourceOf(typeContainer, c.Labels, c.ID, used[nameOf(c.Names)]))
		default:
			held.Resources = append(held.Resources, resourceOf(typeContainer, c.Labels, c.ID, c.State == container.StateRunning))
		}
	}
	for _, v := range volumes {
		if v.Labels[labelKind] == kindMirror {
			held.Mirrors = append(held.Mirrors, orchestrator.Mirror{Name: v.Name, Key: keyOf(v.Labels), Created: timeOf(v.CreatedAt)})
			continue
		}
		held.Resources = append(held.Resources, resourceOf(typeVolume, v.Labels, v.Name, used[v.Name]))
	}
	for _, n := range slices.Concat(networks.own, networks.other) {
		held.Resources = append(held.Resources, resourceOf(typeNetwork, n.Labels, n.ID, used[n.ID]))
	}
	return held, nil
}

// usedBy returns the volumes and networks that the pool's containers use or that the next one will use, by name or ID. The
// volume of a warden has the warden's name. Its own use of the volume does not count, so that both are in use if a container
// of sessions has the volume. RemoveResource refuses to remove the volume before the warden.
func (h *host) usedBy(containers []container.Summary) map[string]bool {
	used := map[string]bool{h.installer.volume: true, h.warden.name: !h.warden.refused()}
	for _, c := range containers {
		used[c.HostConfig.NetworkMode] = true
		for _, m := range c.Mounts {
			if c.Labels[labelKind] != kindWarden || m.Name != nameOf(c.Names) {
				used[m.Name] = true
			}
		}
	}
	return used
}

// listed describes a container of sessions from the engine's list.
func listed(c container.Summary) orchestrator.Container {
	return orchestrator.Container{
		Name:    nameOf(c.Names),
		ID:      c.ID,
		Key:     keyOf(c.Labels),
		PoolUID: c.Labels[labelPoolUID],
		Running: c.State == container.StateRunning,
		Created: time.Unix(c.Created, 0),

		Isolation: orchestrator.Isolation{Level: store.Isolation(c.Labels[labelRooms])},
	}
}

// resourceOf describes a thing that is neither a container of sessions nor a mirror. A thing counts as in use if this version
// does not know its kind, or cannot judge it.
func resourceOf(typ string, labels map[string]string, id string, used bool) orchestrator.Resource {
	kind := labels[labelKind]
	switch kind {
	case kindHelper, kindWork, kindAgent, kindNetwork, kindWarden:
	default:
		used = true
	}
	return orchestrator.Resource{Kind: kind, Type: typ, ID: id, PoolUID: labels[labelPoolUID], InUse: used}
}

// containerOf describes a container that the engine had already.
func containerOf(found container.InspectResponse) orchestrator.Container {
	return orchestrator.Container{
		Name:    strings.TrimPrefix(found.Name, "/"),
		ID:      found.ID,
		Key:     keyOf(found.Config.Labels),
		PoolUID: found.Config.Labels[labelPoolUID],
		Running: found.State.Running,
		Created: timeOf(found.Created),
		Adopted: true,

		Isolation: orchestrator.Isolation{Level: store.Isolation(found.Config.Labels[labelRooms])},
	}
}

// nameOf returns a container's own name. The other names are links to it.
func nameOf(names []string) string {
	for _, name := range names {
		if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
			return name
		}
	}
	return ""
}

// timeOf parses a time of the engine. It is zero if there is none.
func timeOf(text string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, text)
	return t
}
