package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// visitEvery is how often this process visits a container that it does not use. An agent to which no process was attached
// for six hours takes its pool for dead, so visitEvery is well below that.
const visitEvery = time.Hour

// visitAll looks after the containers of an instance that are ready by the store. If one does not run, its keeper is
// started, and finds that it is lost. With Config.Answer, the keepers of those with sessions are started, too. The others are visited unless this process uses them, for the first time at once.
func (m *Manager) visitAll(h Host, instance string, known map[string]*store.Container, have []Container) {
	running := make(map[string]bool)
	for _, c := range have {
		running[c.ID] = c.Running
	}
	var ready []*store.Container
	used := make(map[string]bool)
	m.mu.Lock()
	for _, c := range known {
		if c.State == store.ContainerReady && running[c.EngineID] {
			ready = append(ready, c)
			used[c.ID] = m.keepers[c.ID] != nil
		}
	}
	m.mu.Unlock()
	for _, c := range m.observed.due(instance, ready, used, time.Now()) {
		m.tasks.spawn(func() { m.visit(h, c) })
	}
	for _, c := range known {
		answers := m.cfg.Answer != nil && c.Sessions > 0 // when the process that had begun them is gone
		if c.State == store.ContainerReady && (answers || !running[c.EngineID]) {
			m.keeper(m.ctx, c.ID, Credential{})
		}
	}
}

// visit attaches to a container and detaches again. So its agent knows that the pool lives although no process uses the
// container. A visit also makes the container's sessions those that the store has.
func (m *Manager) visit(h Host, c *store.Container) {
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.CallTimeout)
	defer cancel()
	inside, err := h.Attach(ctx, c.EngineID)
	switch {
	case errors.Is(err, agent.ErrGone):
		m.keeper(m.ctx, c.ID, Credential{}) // finds the same, and stores it
	case err != nil:
		m.failures.Report("cannot visit a container; trying again", err, "container", c.Name, "instance", c.Instance)
		m.observed.notVisited(c)
	default:
		m.reconcile(ctx, c, inside)
		inside.Close()
	}
}
