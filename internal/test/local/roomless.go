package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/testenv"
)

// NewRoomless returns a pool beside another one that has a warden. The new pool has none: another container has its name, so that
// its sessions have no rooms. All else is the same.
func NewRoomless(t testing.TB, beside *Pool, cfg berth.Config) *Pool {
	t.Helper()
	name := testenv.PoolName(t)
	theirs, ours := short(beside.Name), short(name)
	wardens, err := beside.Docker.ContainerList(context.Background(), client.ContainerListOptions{
		Filters: make(client.Filters).Add("label", "berth.pool="+beside.Name).Add("label", "berth.kind=warden"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(wardens.Items) != 1 {
		testenv.Missing(t, "needs an engine that allows the warden, and there are %d wardens", len(wardens.Items))
	}
	warden := wardens.Items[0]
	made, err := beside.Docker.ContainerCreate(context.Background(), client.ContainerCreateOptions{
		Name:   strings.Replace(strings.TrimPrefix(warden.Names[0], "/"), theirs, ours, 1),
		Config: &container.Config{Image: warden.Image, Entrypoint: []string{"true"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := beside.Docker.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	return newPool(t, name, cfg)
}

// short is how the engine's driver shortens the name of a pool.
func short(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])[:15]
}
