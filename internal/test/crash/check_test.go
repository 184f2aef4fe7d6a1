package crash_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/store"
)

// check holds the records against each other, the books and the engine. No worker runs.
func (b *books) check(st store.Store, docker *client.Client, pool string) {
	b.t.Helper()
	ctx := b.t.Context()
	s, err := audit.Take(ctx, st)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, fault := range s.Faults(1) {
		b.t.Error(fault)
	}
	if s.Pool != nil && s.Pool.Instances > 1 {
		b.t.Errorf("%d instances on one machine", s.Pool.Instances)
	}
	engine := look(b.t, docker, pool)
	state := make(map[string]store.SessionState)
	for _, x := range s.Sessions {
		state[x.ID] = x.State
		if x.State != store.SessionActive {
			continue
		}
		c := s.Containers[x.Container]
		if c == nil || c.State != store.ContainerReady || c.EngineID != x.EngineID {
			b.t.Errorf("active session %s has the container record %+v", x.ID, c)
		}
		if !engine.running[x.EngineID] {
			b.t.Errorf("active session %s has no running container %.12s", x.ID, x.EngineID)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, e := range b.sessions {
		switch {
		case e.created && !e.ending && state[id] != store.SessionActive:
			b.t.Errorf("session %s of %s was returned, nobody ended it, and it is %q", id, e.task, state[id])
		case e.ended && state[id] != "" && state[id] != store.SessionEnded:
			b.t.Errorf("session %s of %s was terminated, and is %q", id, e.task, state[id])
		case e.ended && strings.Contains(engine.processes, "beat-"+id):
			b.t.Errorf("session %s of %s was terminated, and a process of it runs", id, e.task)
		}
		if e.failure != "" && !e.ending {
			b.t.Errorf("session %s of %s could not be used: %s", id, e.task, e.failure)
		}
		e.failure = ""
	}
}

// observation is what the engine has of a pool.
type observation struct {
	running   map[string]bool // containers, by ID
	processes string          // the commands of all that runs in them
}

func look(t *testing.T, docker *client.Client, pool string) observation {
	t.Helper()
	ctx := context.Background()
	s := observation{running: make(map[string]bool)}
	list, err := docker.ContainerList(ctx, client.ContainerListOptions{Filters: make(client.Filters).Add("label", "berth.pool="+pool).Add("label", "berth.kind=container")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Items {
		top, err := docker.ContainerTop(ctx, c.ID, client.ContainerTopOptions{})
		if err != nil { // it goes just now
			continue
		}
		s.running[c.ID] = true
		s.processes += fmt.Sprintln(top.Processes)
	}
	return s
}
