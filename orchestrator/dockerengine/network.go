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

// ensureNetwork returns the ID of the pool's network, which is known by its label. Its name cannot tell: an engine
// before Docker 25 lets two processes make two networks of one name, and then starts no container in either.
func (h *host) ensureNetwork(ctx context.Context) (string, error) {
	if id := h.knownNetwork(); id != "" {
		return id, nil
	}
	return h.networks.do(ctx, "", nil, func(ctx context.Context, _ func(string)) (string, error) {
		id, err := h.findNetwork(ctx)
		if err == nil && id == "" {
			id, err = h.makeNetwork(ctx)
		}
		if err != nil {
			return "", fmt.Errorf("the pool's network: %w", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.network = id
		return id, nil
	}, nil)
}

func (h *host) knownNetwork() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.network
}

// findNetwork returns the pool's network, the oldest if there are several; "" = there is none.
func (h *host) findNetwork(ctx context.Context) (id string, err error) {
	networks, err := h.listNetworks(ctx)
	if err != nil || len(networks) == 0 {
		return "", err
	}
	return networks[0].ID, nil
}

func (h *host) listNetworks(ctx context.Context) ([]network.Summary, error) {
	ctx, cancel := h.bound(ctx)
	defer cancel()
	list, err := h.docker.NetworkList(ctx, client.NetworkListOptions{Filters: h.filter(kindNetwork)})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list.Items, func(a, b network.Summary) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return list.Items, nil
}

// makeNetwork makes the pool's network, looks whether another process was faster, and then takes that one's. Two that
// see only their own keep one each, which does no harm.
func (h *host) makeNetwork(ctx context.Context) (id string, err error) {
	make, cancel := unbroken(ctx, h.opts.StartTimeout)
	defer cancel()
	made, createErr := h.docker.NetworkCreate(make, "berth-"+short(h.at.Pool+rand.Text()), client.NetworkCreateOptions{
		Driver: "bridge",
		Labels: h.labels(kindNetwork),
		Options: map[string]string{
			// Containers of one pool are strangers to each other.
			"com.docker.network.bridge.enable_icc": "false",
		},
	})
	oldest, err := h.findNetwork(ctx)
	if err != nil {
		return "", err
	}
	if createErr != nil && oldest == "" {
		return "", createErr
	}
	if createErr == nil && oldest != made.ID {
		if _, err := h.docker.NetworkRemove(make, made.ID, client.NetworkRemoveOptions{}); err != nil {
			h.log.Warn("removing a second network of the pool", "network", made.ID, "error", err)
		}
	}
	return oldest, nil
}
