package gittest_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
)

// TestContainersCanClone is the reason for this package, and holds the workspace image to its promise.
func TestContainersCanClone(t *testing.T) {
	t.Parallel()
	docker, image := testenv.Docker(t), testenv.Image(t)
	repo := example()
	dumb, err := gittest.Serve(t.Context(), docker, repo)
	if err != nil {
		t.Fatal(err)
	}
	defer dumb.Close()
	remote := gittest.NewSmartServer(t).Create("acme/smart", gittest.Files(map[string]string{"a.txt": "a\n"}))

	script := `set -eu
umask 022
cd /tmp
git clone --quiet "$1" dumb
git -C dumb rev-parse HEAD
git clone --quiet --bare "$2" smart
git -C smart rev-parse HEAD
for tool in ps find grep sed awk tar gzip ssh curl less patch diff which bash stat; do
	command -v "$tool" >/dev/null || echo "no $tool"
done
test "$(stat -c %a /tmp)" = 1777 || echo "mode of /tmp is $(stat -c %a /tmp)"
test -s /etc/ssl/certs/ca-certificates.crt || echo "no CA certificates"`
	got := run(t, docker, image, "sh", "-c", script, "sh", dumb.URL(repo), remote.URL())
	if want := repo.Head("main") + "\n" + remote.Head("main") + "\n"; got != want {
		t.Errorf("in the container: %q, want %q", got, want)
	}
}

// run runs a command in a container of its own and returns what it wrote.
func run(t *testing.T, docker *client.Client, image string, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	created, err := docker.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config: &container.Config{Image: image, Cmd: command},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer docker.ContainerRemove(context.WithoutCancel(ctx), created.ID, client.ContainerRemoveOptions{Force: true})
	wait := docker.ContainerWait(ctx, created.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := docker.ContainerStart(ctx, created.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	var status int64
	select {
	case result := <-wait.Result:
		status = result.StatusCode
	case err := <-wait.Error:
		t.Fatal(err)
	}
	logs, err := docker.ContainerLogs(ctx, created.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, logs); err != nil {
		t.Fatal(err)
	}
	if status != 0 {
		t.Fatalf("%s ends with %d: %s", strings.Join(command, " "), status, &out)
	}
	return out.String()
}
