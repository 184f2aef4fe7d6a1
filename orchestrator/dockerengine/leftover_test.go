package dockerengine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// connected returns a host of a pool of the test's own, and the spec of a container for it.
func connected(t *testing.T) (*client.Client, orchestrator.Host, orchestrator.ContainerSpec) {
	t.Helper()
	docker := testenv.Docker(t)
	at := orchestrator.Endpoint{Pool: testenv.PoolName(t), PoolUID: "one", Launch: "launch-1", Address: docker.DaemonHost()}
	key := naming.Key{Repository: naming.Repository{Host: "example.org", Path: "acme/widgets"}}
	spec := orchestrator.ContainerSpec{Name: key.ContainerName(at.Pool), Key: key, Image: testenv.Image(t), Egress: gittest.Egress()}
	h, err := dockerengine.New(dockerengine.Options{Logger: testLogger(t)}).Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Purge(context.Background()); err != nil {
			t.Errorf("Purge: %v", err)
		}
		h.Close()
	})
	return docker, h, spec
}

// ensured makes the container of a spec run, and returns it as the engine describes it.
func ensured(t *testing.T, docker *client.Client, h orchestrator.Host, spec orchestrator.ContainerSpec) container.InspectResponse {
	t.Helper()
	made, err := h.Ensure(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	found, err := docker.ContainerInspect(t.Context(), made.ID, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found.Container
}

func TestStrangersVolumeIsNotTouched(t *testing.T) {
	docker, h, spec := connected(t)
	for _, name := range []string{spec.Name, spec.Name + "-work"} {
		if _, err := docker.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: name}); err != nil {
			t.Fatal(err)
		}
		_, err := h.Ensure(t.Context(), spec, nil)
		if !errors.Is(err, orchestrator.ErrNameTaken) || !strings.Contains(err.Error(), name) {
			t.Errorf("beside a stranger's volume %s, Ensure: %v", name, err)
		}
		if err := errors.Join(h.Remove(t.Context(), spec.Name, ""), h.RemoveMirror(t.Context(), spec.Name), h.Purge(t.Context())); err != nil {
			t.Errorf("beside a stranger's volume %s: %v", name, err)
		}
		if _, err := docker.VolumeInspect(t.Context(), name, client.VolumeInspectOptions{}); err != nil {
			t.Errorf("the stranger's volume: %v", err)
		}
		if _, err := docker.VolumeRemove(context.Background(), name, client.VolumeRemoveOptions{}); err != nil {
			t.Error(err)
		}
		if held, err := h.List(t.Context()); err != nil || len(held.Containers)+len(held.Mirrors) != 0 {
			t.Errorf("what is left: %+v, %v", held, err)
		}
	}
}

func TestContainerThatWasNeverStartedIsReplaced(t *testing.T) {
	docker, h, spec := connected(t)
	found := ensured(t, docker, h, spec)
	if err := h.Remove(t.Context(), spec.Name, ""); err != nil {
		t.Fatal(err)
	}
	// A process that dies between making a container and starting it leaves this.
	left, err := docker.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Name: spec.Name, Config: found.Config, HostConfig: &container.HostConfig{Mounts: found.HostConfig.Mounts},
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.Ensure(t.Context(), spec, nil)
	if err != nil || again.ID == left.ID || again.Adopted {
		t.Errorf("Ensure returned %+v, %v; want a new container", again, err)
	}
}

func TestWhatContainersShareIsMadeAgain(t *testing.T) {
	docker, h, spec := connected(t)
	found := ensured(t, docker, h, spec)
	if err := h.Remove(t.Context(), spec.Name, ""); err != nil {
		t.Fatal(err)
	}
	for _, w := range wardens(t, docker, found.Config.Labels["berth.pool"]) {
		if _, err := docker.ContainerRemove(t.Context(), w.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range found.Mounts { // as an operator does who prunes
		if m.Destination == "/berth/bin" || m.Destination == "/berth/warden" {
			if _, err := docker.VolumeRemove(t.Context(), m.Name, client.VolumeRemoveOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := docker.NetworkRemove(t.Context(), string(found.HostConfig.NetworkMode), client.NetworkRemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	made, err := h.Ensure(t.Context(), spec, nil)
	if err != nil {
		t.Errorf("after the network, the warden and the volumes were removed from outside: %v", err)
	}
	if before := found.Config.Labels["berth.isolation"]; string(made.Isolation.Level) != before {
		t.Errorf("the isolation was %s and is %+v", before, made.Isolation)
	}
}

func TestContainerThatCannotStartSaysWhy(t *testing.T) {
	docker := testenv.Docker(t)
	at := orchestrator.Endpoint{Pool: testenv.PoolName(t), PoolUID: "one", Launch: "launch-1", Address: docker.DaemonHost()}
	key := naming.Key{Repository: naming.Repository{Host: "example.org", Path: "acme/widgets"}}
	script := func(string) ([]byte, error) { return []byte("#!/bin/sh\necho the agent fell over >&2\nexit 7\n"), nil }
	h, err := dockerengine.New(dockerengine.Options{Agent: script}).Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	_, err = h.Ensure(t.Context(), orchestrator.ContainerSpec{Name: key.ContainerName(at.Pool), Key: key, Image: testenv.Image(t)}, nil)
	if err == nil || !strings.Contains(err.Error(), "exit code 7") || !strings.Contains(err.Error(), "the agent fell over") {
		t.Errorf("the error is %v; want the exit code and the agent's words", err)
	}
	if held, err := h.List(t.Context()); err != nil || len(held.Containers)+len(held.Mirrors) != 0 {
		t.Errorf("what is left: %+v, %v", held, err)
	}
	if err := h.Purge(t.Context()); err != nil {
		t.Error(err)
	}
}
