package dockerengine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// TestNetworksThatAreLost: what holds a network may end at any time, before a container takes the network or after it.
func TestNetworksThatAreLost(t *testing.T) {
	docker, h, spec := connected(t)
	spec.Spares = 1
	if made := ensureSpared(t, h, spec); made.Isolation.Level != store.IsolationRooms {
		testenv.Missing(t, "needs an engine with rooms: %s", made.Isolation.Reason)
	}
	remove := func(id string) {
		t.Helper()
		if _, err := docker.ContainerRemove(t.Context(), id, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	holder := func(made orchestrator.Container) string {
		t.Helper()
		found, err := docker.ContainerInspect(t.Context(), made.ID, client.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return found.Container.HostConfig.NetworkMode.ConnectedContainer()
	}

	// Nobody has taken it.
	if err := h.Remove(t.Context(), spec.Name, ""); err != nil {
		t.Fatal(err)
	}
	for _, r := range awaitSpare(t, h) {
		remove(r.ID)
	}
	made := ensureSpared(t, h, spec)
	if made.Spare {
		t.Error("a container has taken a network that is gone")
	}

	// Its container has it.
	made = takesSpare(t, h, spec)
	remove(holder(made))
	again := ensureSpared(t, h, spec)
	if again.ID == made.ID || again.Adopted {
		t.Error("a container without its network was adopted")
	}
	in, err := h.Attach(t.Context(), again.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := in.Sessions(t.Context()); err != nil {
		t.Error(err)
	}

	// Its container was removed from outside: a sweep finds the network.
	made = takesSpare(t, h, spec)
	left := holder(made)
	remove(made.ID)
	held, err := h.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range held.Resources {
		if r.ID == left {
			if r.InUse {
				t.Error("a network that was left is in use")
			}
			if err := h.RemoveResource(t.Context(), r); err != nil {
				t.Errorf("RemoveResource: %v", err)
			}
			left = ""
		}
	}
	if left != "" {
		t.Error("a network that was left is not listed")
	}
}

func ensureSpared(t *testing.T, h orchestrator.Host, spec orchestrator.ContainerSpec) orchestrator.Container {
	t.Helper()
	made, err := h.Ensure(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// awaitSpare returns the networks that are in use when there are some.
func awaitSpare(t *testing.T, h orchestrator.Host) (spares []orchestrator.Resource) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for ; len(spares) == 0; time.Sleep(50 * time.Millisecond) {
		held, err := h.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range held.Resources {
			if r.Kind == "spare" && r.InUse {
				spares = append(spares, r)
			}
		}
	}
	return spares
}

// takesSpare makes the container anew until it takes a network that is ready.
func takesSpare(t *testing.T, h orchestrator.Host, spec orchestrator.ContainerSpec) orchestrator.Container {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		if err := h.Remove(t.Context(), spec.Name, ""); err != nil && !errors.Is(err, agent.ErrGone) {
			t.Fatal(err)
		}
		awaitSpare(t, h)
		if made := ensureSpared(t, h, spec); made.Spare {
			return made
		}
		if time.Now().After(deadline) {
			t.Fatal("no container takes a network that is ready")
		}
	}
}
