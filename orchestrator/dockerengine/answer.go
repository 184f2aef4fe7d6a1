package dockerengine

import (
	"context"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"
)

// The functions of this file read the engine's answers. An answer may be valid JSON and still lack a field that every
// engine sends, because another program listens at the address, or a proxy answers in the engine's place. Such an answer
// is an error. Without this check it would mean that a container does not run, or that a volume is not the pool's.

// errIncomplete is the error for an answer that lacks a field.
type errIncomplete struct{ call, lacks string }

func (e errIncomplete) Error() string {
	return fmt.Sprintf("incomplete answer to %s: it has no %s. Is the program that answers a Docker engine?", e.call, e.lacks)
}

// needs returns an error unless an answer has the field that is named what.
func needs(has bool, call, what string) error {
	if has {
		return nil
	}
	return errIncomplete{call, what}
}

// needsEach is needs for the field of each item in a list that identifies the item.
func needsEach[T any](list []T, field func(T) string, call, what string) error {
	for _, item := range list {
		if err := needs(field(item) != "", call, what+" of one of them"); err != nil {
			return err
		}
	}
	return nil
}

// inspect returns a container, with a Config and a State that are not nil.
func (d *daemon) inspect(ctx context.Context, container string) (container.InspectResponse, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	found, err := d.docker.ContainerInspect(ctx, container, client.ContainerInspectOptions{})
	if err != nil {
		return found.Container, err
	}
	call, c := "the inspection of container "+container, found.Container
	switch {
	case c.ID == "":
		err = errIncomplete{call, "Id"}
	case c.Config == nil:
		err = errIncomplete{call, "Config"}
	case c.State == nil:
		err = errIncomplete{call, "State"}
	case c.State.Status == "":
		err = errIncomplete{call, "State.Status"}
	}
	return c, err
}

func (d *daemon) inspectVolume(ctx context.Context, name string) (volume.Volume, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	found, err := d.docker.VolumeInspect(ctx, name, client.VolumeInspectOptions{})
	if err == nil {
		err = needs(found.Volume.Name != "", "the inspection of volume "+name, "Name")
	}
	return found.Volume, err
}

func (d *daemon) inspectNetwork(ctx context.Context, id string) (network.Inspect, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	found, err := d.docker.NetworkInspect(ctx, id, client.NetworkInspectOptions{})
	if err == nil {
		err = needs(found.Network.ID != "", "the inspection of network "+id, "Id")
	}
	return found.Network, err
}

// listContainers lists the containers that a filter selects. An engine that has none sends an empty list.
func (d *daemon) listContainers(ctx context.Context, all bool, filter client.Filters) ([]container.Summary, error) {
	const call = "the list of containers"
	list, err := d.docker.ContainerList(ctx, client.ContainerListOptions{All: all, Filters: filter})
	if err == nil {
		err = needs(list.Items != nil, call, "containers")
	}
	if err != nil {
		return nil, err
	}
	return list.Items, needsEach(list.Items, func(c container.Summary) string { return c.ID }, call, "Id")
}

// listVolumes lists the volumes that a filter selects. An engine that has none may omit the list.
func (d *daemon) listVolumes(ctx context.Context, filter client.Filters) ([]volume.Volume, error) {
	list, err := d.docker.VolumeList(ctx, client.VolumeListOptions{Filters: filter})
	if err != nil {
		return nil, err
	}
	return list.Items, needsEach(list.Items, func(v volume.Volume) string { return v.Name }, "the list of volumes", "Name")
}

// allNetworks lists every network of the engine. Every engine has some of its own.
func (d *daemon) allNetworks(ctx context.Context) ([]network.Summary, error) {
	const call = "the list of networks"
	list, err := d.docker.NetworkList(ctx, client.NetworkListOptions{})
	if err == nil {
		err = needs(list.Items != nil, call, "networks")
	}
	if err != nil {
		return nil, err
	}
	return list.Items, needsEach(list.Items, func(n network.Summary) string { return n.ID }, call, "Id")
}
