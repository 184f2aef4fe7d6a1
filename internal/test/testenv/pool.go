package testenv

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

const (
	poolLabel = "berth.pool" // the label of everything that a driver makes

	// removingGrace is how long the engine may take to finish a removal that has begun.
	removingGrace = 5 * time.Second
	cleanTimeout  = time.Minute
)

// PoolName returns a name for a pool that no other test has. At the end of the test, after all later cleanups, the test
// fails if there are containers, volumes or networks with the pool's label. They are listed and then removed.
func PoolName(t testing.TB) string {
	t.Helper()
	name := poolName(t.Name())
	t.Cleanup(func() { checkPool(t, name) })
	return name
}

// poolName makes a short name that Docker accepts from a test's name.
func poolName(test string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimPrefix(test, "Test")) {
		if b.Len() == 16 {
			break
		}
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		}
	}
	return "t-" + b.String() + "-" + strings.ToLower(rand.Text()[:8])
}

// checkPool fails the test if something is left of a pool, and removes it.
func checkPool(t testing.TB, pool string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cleanTimeout)
	defer cancel()
	docker, err := client.New(client.FromEnv)
	if err != nil {
		return // no engine, so nothing can be left on it
	}
	defer docker.Close()
	if _, err := docker.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return
	}
	left, err := leftovers(ctx, docker, pool)
	for deadline := time.Now().Add(removingGrace); err == nil && onlyRemoving(left) && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
		left, err = leftovers(ctx, docker, pool)
	}
	if err != nil {
		t.Errorf("looking for what pool %s left behind: %v", pool, err)
		return
	}
	for _, thing := range left {
		err := thing.remove(ctx)
		if err != nil && thing.stuck != nil && thing.stuck(ctx) {
			t.Logf("the engine does not remove %s, in which nothing is: %v", thing.what, err)
			continue
		}
		t.Errorf("pool %s left %s", pool, thing.what)
		if err != nil {
			t.Logf("removing %s: %v", thing.what, err)
		}
	}
}

// A leftover is something with a pool's label.
type leftover struct {
	what     string
	removing bool // the engine is removing it
	remove   func(context.Context) error
	// stuck reports whether the engine itself has lost count of the leftover's contents: before Docker 25, an engine
	// sometimes keeps a network until its next start, for a container that was removed while it started. nil = that
	// cannot happen.
	stuck func(context.Context) bool
}

func onlyRemoving(left []leftover) bool {
	for _, thing := range left {
		if !thing.removing {
			return false
		}
	}
	return len(left) > 0
}

// leftovers lists the things with the pool's label, containers first, because containers use the others.
func leftovers(ctx context.Context, docker *client.Client, pool string) ([]leftover, error) {
	var left []leftover
	filters := make(client.Filters).Add("label", poolLabel+"="+pool)
	containers, err := docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	if err != nil {
		return nil, err
	}
	for _, c := range containers.Items {
		left = append(left, leftover{
			what:     "container " + strings.Join(c.Names, " ") + " (" + c.Status + ")",
			removing: c.State == "removing",
			remove: func(ctx context.Context) error {
				_, err := docker.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
				return err
			},
		})
	}
	volumes, err := docker.VolumeList(ctx, client.VolumeListOptions{Filters: filters})
	if err != nil {
		return nil, err
	}
	for _, v := range volumes.Items {
		left = append(left, leftover{what: "volume " + v.Name, remove: func(ctx context.Context) error {
			_, err := docker.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{Force: true})
			return err
		}})
	}
	networks, err := docker.NetworkList(ctx, client.NetworkListOptions{Filters: filters})
	if err != nil {
		return nil, err
	}
	for _, n := range networks.Items {
		left = append(left, leftover{
			what: "network " + n.Name,
			remove: func(ctx context.Context) error {
				_, err := docker.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
				return err
			},
			stuck: func(ctx context.Context) bool {
				found, err := docker.NetworkInspect(ctx, n.ID, client.NetworkInspectOptions{})
				return err == nil && len(found.Network.Containers) == 0
			},
		})
	}
	return left, nil
}
