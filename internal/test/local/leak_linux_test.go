package local_test

import (
	"errors"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/testenv"
)

// leak leaks the control in each place that is searched, apart from records, which have it as a label. The function that
// it returns removes what it has made.
func (l *planting) leak(neighbour *berth.Session) (undo func()) {
	t, value := l.T, l.values[control]
	l.logger.Debug("leaking", "value", value)
	l.search.Error(errors.New("leaking " + value))
	l.event(berth.Event{Message: value})
	l.leakByTelemetry(value)

	cmd := neighbour.Command(t.Context(), "sh", "-c", "cat /proc/self/environ")
	cmd.Env = []string{"LEAK=" + value}
	seen, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	l.sees(string(seen))
	return l.leakOnEngine(value)
}

func (l *planting) leakOnEngine(value string) (undo func()) {
	t, ctx, docker := l.T, l.T.Context(), l.Docker
	name := l.Name + "-leak"
	labels := map[string]string{"berth.pool": l.Name, "leak": value}
	if _, err := docker.VolumeCreate(ctx, client.VolumeCreateOptions{Name: name, Labels: labels}); err != nil {
		t.Fatal(err)
	}
	network, err := docker.NetworkCreate(ctx, name, client.NetworkCreateOptions{Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	script := "echo $LEAK; echo $LEAK >/file; echo $LEAK >/volume/file; echo $LEAK >/dev/shm/file; exec sleep 1000"
	leaking, err := docker.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: name,
		Config: &container.Config{
			Image: testenv.Image(l.T), Cmd: []string{"sh", "-c", script, value}, Env: []string{"LEAK=" + value}, Labels: labels,
		},
		HostConfig: &container.HostConfig{Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: name, Target: "/volume"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	undo = func() {
		_, err1 := docker.ContainerRemove(ctx, leaking.ID, client.ContainerRemoveOptions{Force: true})
		_, err2 := docker.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
		_, err3 := docker.NetworkRemove(ctx, network.ID, client.NetworkRemoveOptions{})
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Error(err)
		}
	}
	if _, err := docker.ContainerStart(ctx, leaking.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	// The process of the exec leaks in its arguments, and in those that docker top shows.
	made, err := docker.ExecCreate(ctx, leaking.ID, client.ExecCreateOptions{Cmd: []string{"sh", "-c", "sleep 1000; true", value}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := docker.ExecStart(ctx, made.ID, client.ExecStartOptions{Detach: true}); err != nil {
		t.Fatal(err)
	}
	leaked := func() bool { // the files are written before the container sleeps
		return l.watch.Seen("sleep", 0) > 1 && l.search.Found("a process's arguments", control)
	}
	for deadline := time.Now().Add(5 * time.Minute); !leaked() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	return undo
}
