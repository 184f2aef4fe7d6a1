package dockerengine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// TestImageWithAnAccountAmongThoseOfSessions: a session could get its uid, and with it what the image gave it.
func TestImageWithAnAccountAmongThoseOfSessions(t *testing.T) {
	docker, h, spec := connected(t)
	ctx := context.Background() // also to clean up
	made, err := docker.ContainerCreate(ctx, client.ContainerCreateOptions{Config: &container.Config{
		Image: spec.Image, Entrypoint: []string{"sh", "-c", "echo app:x:10001:10001::/app:/bin/sh >>/etc/passwd"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer docker.ContainerRemove(ctx, made.ID, client.ContainerRemoveOptions{Force: true})
	wait := docker.ContainerWait(ctx, made.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := docker.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-wait.Result:
	case err := <-wait.Error:
		t.Fatal(err)
	}
	spec.Image = spec.Name + ":with-an-account"
	if _, err := docker.ContainerCommit(ctx, made.ID, client.ContainerCommitOptions{Reference: spec.Image}); err != nil {
		t.Fatal(err)
	}
	defer docker.ImageRemove(ctx, spec.Image, client.ImageRemoveOptions{Force: true})
	_, err = h.Ensure(t.Context(), spec, nil)
	if err == nil || !strings.Contains(err.Error(), `/etc/passwd gives the id 10001 to "app"`) {
		t.Errorf("Ensure: %v", err)
	}
}
