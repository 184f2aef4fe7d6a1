package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

// An Engine is searched for what it has of one pool.
type Engine struct {
	*Search
	T      testing.TB
	Docker *client.Client
	Pool   string

	mu    sync.Mutex // protects heard
	heard []events.Message
}

func (e *Engine) ours() client.Filters {
	return make(client.Filters).Add("label", "berth.pool="+e.Pool)
}

// Containers returns the IDs of the pool's containers, in any state.
func (e *Engine) Containers() (ids []string) {
	e.T.Helper()
	list, err := e.Docker.ContainerList(context.Background(), client.ContainerListOptions{All: true, Filters: e.ours()})
	if err != nil {
		e.T.Fatal(err)
	}
	for _, c := range list.Items {
		ids = append(ids, c.ID)
	}
	return ids
}

// Everything searches all settings, logs, processes and files of the pool on the engine.
func (e *Engine) Everything(since time.Time) {
	e.T.Helper()
	for _, id := range e.Containers() {
		e.settings(id)
		e.top(id)
		e.logs(id)
		e.layer(id)
		e.volumes(id)
	}
	e.objects()
	e.events(since)
}

// settings searches a container's and its execs' settings: environment, command, labels and mounts.
func (e *Engine) settings(id string) {
	e.T.Helper()
	found, err := e.Docker.ContainerInspect(e.T.Context(), id, client.ContainerInspectOptions{})
	if err != nil {
		e.T.Fatal(err)
	}
	e.Look("a container's settings", found.Container.Name, found.Raw)
}

func (e *Engine) top(id string) {
	e.T.Helper()
	top, err := e.Docker.ContainerTop(e.T.Context(), id, client.ContainerTopOptions{Arguments: []string{"-ef"}})
	if err != nil {
		e.T.Fatal(err)
	}
	e.Look("docker top", id, fmt.Append(nil, top.Processes))
}

// logs searches what the container's first process wrote: the agent's log.
func (e *Engine) logs(id string) {
	e.T.Helper()
	logs, err := e.Docker.ContainerLogs(e.T.Context(), id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		e.T.Fatal(err)
	}
	e.read("a container's log", id, logs)
}

func (e *Engine) read(place, where string, from io.ReadCloser) {
	e.T.Helper()
	defer from.Close()
	text, err := io.ReadAll(from)
	if err != nil {
		e.T.Fatalf("reading %s of %s: %v", place, where, err)
	}
	e.Look(place, where, text)
}

// layer searches each file that was changed in the container's own layer.
func (e *Engine) layer(id string) {
	e.T.Helper()
	diff, err := e.Docker.ContainerDiff(e.T.Context(), id, client.ContainerDiffOptions{})
	if err != nil {
		e.T.Fatal(err)
	}
	for _, change := range diff.Changes {
		file, err := e.Docker.CopyFromContainer(e.T.Context(), id, client.CopyFromContainerOptions{SourcePath: change.Path})
		if err != nil {
			continue // it was deleted, or it is in memory: see Inside
		}
		if file.Stat.Mode.IsDir() {
			file.Content.Close()
			continue
		}
		e.read("a container's files", change.Path, file.Content)
	}
}

// volumes searches all files of the volumes that the container mounts: its checkouts and its mirror.
func (e *Engine) volumes(id string) {
	e.T.Helper()
	found, err := e.Docker.ContainerInspect(e.T.Context(), id, client.ContainerInspectOptions{})
	if err != nil {
		e.T.Fatal(err)
	}
	for _, mount := range found.Container.Mounts {
		if mount.Type != "volume" || !mount.RW { // the program is mounted read-only
			continue
		}
		files, err := e.Docker.CopyFromContainer(e.T.Context(), id, client.CopyFromContainerOptions{SourcePath: mount.Destination})
		if err != nil {
			e.T.Fatal(err)
		}
		e.read("a volume's files", mount.Name, files.Content)
	}
}

// objects searches the settings of the pool's volumes and networks.
func (e *Engine) objects() {
	e.T.Helper()
	volumes, err := e.Docker.VolumeList(e.T.Context(), client.VolumeListOptions{Filters: e.ours()})
	if err != nil {
		e.T.Fatal(err)
	}
	for _, v := range volumes.Items {
		e.shown("a volume's settings", v.Name, v)
	}
	networks, err := e.Docker.NetworkList(e.T.Context(), client.NetworkListOptions{Filters: e.ours()})
	if err != nil {
		e.T.Fatal(err)
	}
	for _, n := range networks.Items {
		found, err := e.Docker.NetworkInspect(e.T.Context(), n.ID, client.NetworkInspectOptions{Verbose: true})
		if err != nil {
			e.T.Fatal(err)
		}
		e.Look("a network's settings", n.Name, found.Raw)
	}
}

func (e *Engine) shown(place, where string, value any) {
	e.T.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		e.T.Fatal(err)
	}
	e.Look(place, where, text)
}

// Listen keeps the engine's events of the pool from now on, until the test ends. An engine remembers only the last 256 events of
// all its containers.
func (e *Engine) Listen() {
	stream := e.Docker.Events(e.T.Context(), client.EventsListOptions{Filters: e.ours()})
	go func() {
		for {
			select {
			case message := <-stream.Messages:
				e.mu.Lock()
				e.heard = append(e.heard, message)
				e.mu.Unlock()
			case <-stream.Err: // events looks at what was heard, and asks the engine for the rest
				return
			}
		}
	}()
}

// events searches what the engine told its listeners of the pool's containers, which includes the arguments of execs.
func (e *Engine) events(since time.Time) {
	e.T.Helper()
	e.mu.Lock()
	heard := e.heard
	e.heard = nil
	e.mu.Unlock()
	for _, message := range heard {
		e.shown("the engine's events", string(message.Action), message)
	}
	stream := e.Docker.Events(e.T.Context(), client.EventsListOptions{
		Since: strconv.FormatInt(since.Unix(), 10), Until: strconv.FormatInt(time.Now().Unix()+1, 10), Filters: e.ours(),
	})
	for {
		select {
		case message := <-stream.Messages:
			e.shown("the engine's events", string(message.Action), message)
		case err := <-stream.Err:
			if !errors.Is(err, io.EOF) {
				e.T.Errorf("the engine's events: %v", err)
			}
			return
		}
	}
}
