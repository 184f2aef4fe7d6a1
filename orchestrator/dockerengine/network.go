package dockerengine

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

const (
	optionMTU     = "com.docker.network.driver.mtu"
	defaultBridge = "com.docker.network.bridge.default_bridge"
	plainMTU      = "1500" // an engine's default
)

// networks are the networks of the pool, and the MTU of the engine's default network.
type networks struct {
	own   []network.Summary // the oldest first
	other []network.Summary // also the pool's, but of kinds that this version does not know
	// mtu is the MTU of the engine's default network. "" = 1500 or none. New networks then have the engine's default for
	// them (default-network-opts), which the engine does not show.
	mtu string
}

// id returns the ID of the network for new containers, which is the oldest one that was made for the engine's MTU. "" =
// there is none.
func (n networks) id() string {
	for _, own := range n.own {
		if own.Labels[labelMTU] == n.mtu {
			return own.ID
		}
	}
	return ""
}

// bridge is the pool's network on the engine. It owns the making of the network.
type bridge struct {
	*daemon
	making flights[string] // one key
}

// ensure returns the ID of the pool's network, and makes the network if there is none. The network is known by its
// label and not by its name: an engine before Docker 25 lets two processes make two networks with one name, and then starts
// no container in either. If the engine's MTU has changed, new containers get a new network.
func (b *bridge) ensure(ctx context.Context) (string, error) {
	return b.making.do(ctx, "", nil, func(ctx context.Context, _ func(string)) (string, error) {
		found, err := b.list(ctx)
		id := found.id()
		if err == nil && id == "" {
			id, err = b.create(ctx, found.mtu)
		}
		if err != nil {
			return "", fmt.Errorf("the pool's network: %w", err)
		}
		return id, nil
	}, nil)
}

func (b *bridge) list(ctx context.Context) (found networks, err error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	list, err := b.allNetworks(ctx)
	if err != nil {
		return found, err
	}
	for _, n := range list {
		switch {
		case b.owns(n.Labels, kindNetwork):
			found.own = append(found.own, n)
		case b.owns(n.Labels, n.Labels[labelKind]):
			found.other = append(found.other, n)
		case n.Options[defaultBridge] == "true" && n.Options[optionMTU] != plainMTU && n.Options[optionMTU] != "0":
			found.mtu = n.Options[optionMTU]
		}
	}
	slices.SortFunc(found.own, func(a, b network.Summary) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return found, nil
}

// create makes the pool's network. If another process was faster, its network is used instead. If two processes see
// only their own networks, each uses its own, which does no harm.
func (b *bridge) create(ctx context.Context, mtu string) (id string, err error) {
	making, cancel := unbroken(ctx, b.opts.StartTimeout)
	defer cancel()
	options, labels := map[string]string{
		// The containers of a pool must not reach each other.
		"com.docker.network.bridge.enable_icc": "false",
	}, b.labels(kindNetwork)
	if mtu != "" {
		options[optionMTU], labels[labelMTU] = mtu, mtu
	}
	made, createErr := b.docker.NetworkCreate(making, "berth-"+short(b.at.Pool+rand.Text()), client.NetworkCreateOptions{
		Driver: "bridge", Labels: labels, Options: options,
	})
	if createErr == nil { // a container in network "" would be in the engine's own, where containers reach each other
		createErr = needs(made.ID != "", "the making of the pool's network", "Id")
	}
	found, err := b.list(ctx)
	if err != nil {
		return "", err
	}
	oldest := found.id()
	if createErr != nil && oldest == "" {
		return "", createErr
	}
	if createErr == nil && oldest != made.ID {
		if _, err := b.docker.NetworkRemove(making, made.ID, client.NetworkRemoveOptions{}); err != nil {
			b.log.Warn("cannot remove a second network of the pool", "network", made.ID, "error", err)
		}
	}
	return cmp.Or(oldest, made.ID), nil
}
