package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// visitEvery is how often a container is visited that nobody uses in this process. It is well below the six hours after
// which an agent to which no process was attached takes its pool for dead.
const visitEvery = time.Hour

// visitAll sees to the containers of an instance that are ready. One that does not run is lost: its keeper finds that out
// for itself. The others are visited, unless this process uses them, the first time at once.
func (m *Manager) visitAll(h Host, instance string, known map[string]*store.Container, have []Container) {
	running := make(map[string]bool)
	for _, c := range have {
		running[c.ID] = c.Running
	}
	now := time.Now()
	visited := make(map[string]time.Time)
	var due []*store.Container
	m.mu.Lock()
	for _, c := range known {
		if c.State != store.ContainerReady || !running[c.EngineID] {
			continue
		}
		last, before := m.visited[instance][c.ID]
		if visited[c.ID] = last; m.keepers[c.ID] != nil || before && now.Sub(last) < visitEvery {
			continue
		}
		visited[c.ID] = now
		due = append(due, c)
	}
	m.visited[instance] = visited
	for _, c := range due {
		m.spawn(func() { m.visit(h, c) })
	}
	m.mu.Unlock()
	for _, c := range known {
		if c.State == store.ContainerReady && !running[c.EngineID] {
			m.keeper(c.ID, Credential{})
		}
	}
}

// visit attaches to a container and lets it go again. So its agent knows that the pool lives although nobody uses the
// container, and its sessions are those that the store has.
func (m *Manager) visit(h Host, c *store.Container) {
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.CallTimeout)
	defer cancel()
	inside, err := h.Attach(ctx, c.EngineID)
	switch {
	case errors.Is(err, agent.ErrGone):
		m.keeper(c.ID, Credential{}) // which finds out the same, and says so
	case err != nil:
		m.failed("cannot visit a container; trying again", err, "container", c.Name, "instance", c.Instance)
		m.mu.Lock()
		delete(m.visited[c.Instance], c.ID)
		m.mu.Unlock()
	default:
		m.reconcile(ctx, c, inside)
		inside.Close()
	}
}
