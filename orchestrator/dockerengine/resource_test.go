package dockerengine_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

// plantResources makes a helper container, the volume of an agent of another version, the work volume of a container that is
// gone, and a second network.
func (o *outside) plantResources(t *testing.T, at orchestrator.Endpoint) (ids []string) {
	t.Helper()
	labels := func(kind string) map[string]string {
		return map[string]string{"berth.pool": at.Pool, "berth.pool-uid": at.PoolUID, "berth.kind": kind, "berth.launch": at.Launch}
	}
	tag := strings.ToLower(rand.Text()[:10])
	helper, err := o.docker.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Config:     &container.Config{Image: o.image, Entrypoint: []string{"/berth/bin/agent"}, Labels: labels("helper")},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ids = append(ids, helper.ID)
	for kind, name := range map[string]string{"agent": "berth-leftover-" + tag, "work": "leftover-" + tag + "-work"} {
		if _, err := o.docker.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: name, Labels: labels(kind)}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, name)
	}
	network, err := o.docker.NetworkCreate(t.Context(), "berth-leftover-"+tag, client.NetworkCreateOptions{Driver: "bridge", Labels: labels("network")})
	if err != nil {
		t.Fatal(err)
	}
	return append(ids, network.ID)
}

// all returns the IDs of all containers, volumes and networks of an engine, without the networks that every engine has.
func all(t *testing.T, address string) (ids []string) {
	t.Helper()
	docker, err := client.New(client.WithHost(address))
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	containers, err := docker.ContainerList(t.Context(), client.ContainerListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers.Items {
		ids = append(ids, c.ID)
	}
	volumes, err := docker.VolumeList(t.Context(), client.VolumeListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes.Items {
		ids = append(ids, v.Name)
	}
	networks, err := docker.NetworkList(t.Context(), client.NetworkListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks.Items {
		if !slices.Contains([]string{"bridge", "host", "none"}, n.Name) {
			ids = append(ids, n.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// allIsListed checks that a host lists everything that its engine has. Only the pool uses the engine.
func (s *site) allIsListed(t *testing.T, address string) {
	t.Helper()
	held, err := s.host.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, c := range held.Containers {
		listed = append(listed, c.ID)
	}
	for _, m := range held.Mirrors {
		listed = append(listed, m.Name)
	}
	for _, r := range held.Resources {
		listed = append(listed, r.ID)
	}
	slices.Sort(listed)
	if there := all(t, address); !slices.Equal(listed, there) {
		t.Errorf("List has %v, and the engine %v", listed, there)
	}
}

// plantLater makes a container that runs, a volume and a network, with the pool's labels and a kind that this version does
// not know. It returns their IDs by type.
func plantLater(t *testing.T, docker *client.Client, found container.InspectResponse) map[string]string {
	t.Helper()
	labels := map[string]string{"berth.pool": found.Config.Labels["berth.pool"], "berth.pool-uid": "one", "berth.kind": "cache"}
	name := "later-" + strings.ToLower(rand.Text()[:10])
	later, err := docker.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Name:       name,
		Config:     &container.Config{Image: found.Config.Image, Entrypoint: []string{"sleep", "1000"}, Labels: labels},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		docker.ContainerRemove(context.Background(), later.ID, client.ContainerRemoveOptions{Force: true})
	})
	if _, err := docker.ContainerStart(t.Context(), later.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := docker.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: name, Labels: labels}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.VolumeRemove(context.Background(), name, client.VolumeRemoveOptions{}) })
	network, err := docker.NetworkCreate(t.Context(), name, client.NetworkCreateOptions{Driver: "bridge", Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.NetworkRemove(context.Background(), network.ID, client.NetworkRemoveOptions{}) })
	return map[string]string{"container": later.ID, "volume": name, "network": network.ID}
}

// TestThingsOfALaterVersionArePurged checks things that carry the pool's label and a kind that this version does not know.
func TestThingsOfALaterVersionArePurged(t *testing.T) {
	docker, h, spec := connected(t)
	later := plantLater(t, docker, ensured(t, docker, h, spec))
	held, err := h.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, r := range held.Resources {
		if r.Kind == "cache" {
			listed[r.Type] = r.ID
		}
	}
	if !maps.Equal(listed, later) {
		t.Errorf("of the kind cache List has %v; want %v", listed, later)
	}
	if err := h.Purge(t.Context()); err != nil {
		t.Errorf("Purge: %v", err)
	}
	_, noContainer := docker.ContainerInspect(t.Context(), later["container"], client.ContainerInspectOptions{})
	_, noVolume := docker.VolumeInspect(t.Context(), later["volume"], client.VolumeInspectOptions{})
	_, noNetwork := docker.NetworkInspect(t.Context(), later["network"], client.NetworkInspectOptions{})
	for what, err := range map[string]error{"container": noContainer, "volume": noVolume, "network": noNetwork} {
		if !errdefs.IsNotFound(err) {
			t.Errorf("after Purge, the engine says of the %s: %v; want that it is not found", what, err)
		}
	}
}

// TestRemovalByAnotherProcess: two processes remove one thing. The engine refuses the second removal while the first is under way.
func TestRemovalByAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []string{"helper", "warden"} {
			s, removals := newStub(t), 0
			s.also = func(w http.ResponseWriter, r *http.Request) bool {
				switch path := r.URL.Path; {
				case r.Method == http.MethodDelete:
					removals++
					http.Error(w, `{"message":"removal of container c is already in progress"}`, http.StatusConflict)
				case strings.HasSuffix(path, "/containers/c/json"):
					fmt.Fprintf(w, `{"Id":"c","Name":"/c","State":{"Status":"exited"},"Config":{"Labels":{"berth.pool":%q,"berth.pool-uid":"one","berth.kind":%q}}}`, stubPool, kind)
				default:
					return false
				}
				return true
			}
			err := s.connect(t).RemoveResource(t.Context(), orchestrator.Resource{Kind: kind, Type: "container", ID: "c"})
			if err != nil || removals != 1 {
				t.Errorf("a %s: %v, after %d requests", kind, err, removals)
			}
		}
	})
}
