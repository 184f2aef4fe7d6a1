package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

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
	warden := beside.warden()
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

// warden returns the pool's warden.
func (l *Pool) warden() container.Summary {
	l.T.Helper()
	wardens, err := l.Docker.ContainerList(context.Background(), client.ContainerListOptions{
		Filters: make(client.Filters).Add("label", "berth.pool="+l.Name).Add("label", "berth.kind=warden"),
	})
	if err != nil {
		l.T.Fatal(err)
	}
	if len(wardens.Items) != 1 {
		testenv.Missing(l.T, "needs an engine that allows the warden, and there are %d wardens", len(wardens.Items))
	}
	return wardens.Items[0]
}

// InWarden runs a shell script in the warden's container, and returns what it printed. It sees all processes of the machine.
func (l *Pool) InWarden(script string) string {
	l.T.Helper()
	return l.Inside(l.warden().ID, script)
}

// KillWarden kills the warden, which the engine starts again.
func (l *Pool) KillWarden() {
	l.T.Helper()
	id := l.warden().ID
	found, err := l.Docker.ContainerInspect(context.Background(), id, client.ContainerInspectOptions{})
	if err != nil {
		l.T.Fatal(err)
	}
	kill := []string{"kill", "-9", fmt.Sprint(found.Container.State.Pid)} // it has the machine's process IDs
	made, err := l.Docker.ExecCreate(context.Background(), id, client.ExecCreateOptions{Cmd: kill})
	if err == nil { // detached: the engine may never end the stream of a command that its container does not outlive
		_, err = l.Docker.ExecStart(context.Background(), made.ID, client.ExecStartOptions{Detach: true})
	}
	if err != nil {
		l.T.Logf("killing the warden: %v", err) // the engine may have been too late to see the command start
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		now, err := l.Docker.ContainerInspect(context.Background(), id, client.ContainerInspectOptions{})
		if err == nil && now.Container.State.Running && now.Container.State.Pid != found.Container.State.Pid {
			return
		}
		if time.Now().After(deadline) {
			l.T.Fatalf("the engine has not started the warden again: %v", err)
		}
	}
}

// short is how the engine's driver shortens the name of a pool.
func short(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])[:15]
}
