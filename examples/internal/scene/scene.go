// Package scene has what examples need of this machine's Docker engine: a connection, a list of what a pool has there, and small
// repositories.
package scene

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/pool/localcloud"
)

// answerTimeout bounds the first answer of the engine.
const answerTimeout = 5 * time.Second

// Connect returns a client of the engine that berth.NewLocalProvider uses, if it answers: the engine of DOCKER_HOST, or that of
// the first socket that exists among the usual ones of the platform.
func Connect(ctx context.Context) (*client.Client, error) {
	docker, err := client.New(client.WithHost(localcloud.DefaultAddress()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if _, err := docker.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		docker.Close()
		return nil, err
	}
	return docker, nil
}

// Labelled asks the engine for what carries a pool's label: its containers, or everything.
func Labelled(ctx context.Context, docker *client.Client, pool string, everything bool) (names []string, err error) {
	filters := make(client.Filters).Add("label", "berth.pool="+pool)
	shown := filters.Clone()
	if !everything {
		shown.Add("label", "berth.kind=container")
	}
	containers, err := docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: shown})
	if err != nil {
		return nil, err
	}
	for _, c := range containers.Items {
		names = append(names, strings.TrimPrefix(strings.Join(c.Names, " "), "/"))
	}
	slices.Sort(names)
	if !everything {
		return names, nil
	}
	volumes, err := docker.VolumeList(ctx, client.VolumeListOptions{Filters: filters})
	if err != nil {
		return nil, err
	}
	for _, v := range volumes.Items {
		names = append(names, "volume "+v.Name)
	}
	networks, err := docker.NetworkList(ctx, client.NetworkListOptions{Filters: filters})
	if err != nil {
		return nil, err
	}
	for _, n := range networks.Items {
		names = append(names, "network "+n.Name)
	}
	return names, nil
}

// Repos makes two small repositories in memory.
func Repos() (shop, billing *gittest.Repo) {
	shop = gittest.NewRepo("acme/shop")
	shop.Commit("main", "Begin the shop", map[string]string{
		"README.md":     "# shop\n",
		"go.mod":        "module acme.invalid/shop\n\ngo 1.26\n",
		"cart/cart.go":  "// Package cart holds what a customer is about to buy.\npackage cart\n",
		"login/user.go": "// Package login knows the customers.\npackage login\n",
	})
	shop.Commit("main", "Let customers log in", map[string]string{
		"login/login.go": "package login\n\n// Allowed says whether a customer may come in.\nfunc Allowed(name string) bool { return name != \"\" }\n",
	})
	billing = gittest.NewRepo("acme/billing")
	billing.Commit("main", "Send invoices", map[string]string{
		"README.md":  "# billing\n",
		"invoice.py": "def total(items):\n    return sum(i.price for i in items)\n",
	})
	return shop, billing
}
