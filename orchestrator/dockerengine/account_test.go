package dockerengine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// imageWith makes an image that a shell script has changed, with an environment of its own. The image is removed when the
// test ends.
func imageWith(t *testing.T, docker *client.Client, base, name, script string, env ...string) string {
	t.Helper()
	ctx := context.Background() // also to clean up
	made, err := docker.ContainerCreate(ctx, client.ContainerCreateOptions{Config: &container.Config{
		Image: base, Entrypoint: []string{"sh", "-ec", script},
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
	case end := <-wait.Result:
		if end.StatusCode != 0 {
			t.Fatalf("the script that changes the image ended with %d", end.StatusCode)
		}
	case err := <-wait.Error:
		t.Fatal(err)
	}
	changes := make([]string, len(env))
	for i, kv := range env {
		changes[i] = "ENV " + kv
	}
	if _, err := docker.ContainerCommit(ctx, made.ID, client.ContainerCommitOptions{Reference: name, Changes: changes}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.ImageRemove(ctx, name, client.ImageRemoveOptions{Force: true}) })
	return name
}

// TestImageWithAnAccountAmongThoseOfSessions checks that such an image is refused: a session could get the account's uid,
// and with it everything that the image gave the account.
func TestImageWithAnAccountAmongThoseOfSessions(t *testing.T) {
	docker, h, spec := connected(t)
	spec.Image = imageWith(t, docker, spec.Image, spec.Name+":with-an-account", "echo app:x:10001:10001::/app:/bin/sh >>/etc/passwd")
	_, err := h.Ensure(t.Context(), spec, nil)
	if err == nil || !strings.Contains(err.Error(), `/etc/passwd gives the id 10001 to "app"`) {
		t.Errorf("Ensure: %v", err)
	}
}
