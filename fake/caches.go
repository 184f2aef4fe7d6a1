package fake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// A fill is what became of a cache.
type fill struct {
	with   string // its definition, and the commit of the default branch
	filled bool
	at     time.Time
}

// refill is after how long a fill that failed is tried again, as by the real agent.
const refill = time.Hour

// cacheSize is what a cache that was filled takes on the disk.
const cacheSize = 1 << 20

// FillCaches runs no command. It takes each file of a cache to be in the default branch, and to change with each commit.
func (i *inside) FillCaches(ctx context.Context, f agent.Fill, progress func(agent.Progress)) (agent.Filled, error) {
	e := i.container.node.engine
	r, err := i.begin(ctx, FillCaches, "", e.opts.Latency.Fetch)
	if err != nil {
		return agent.Filled{}, err
	}
	made, err := i.fill(f)
	for _, name := range made.Names {
		if progress != nil {
			progress(agent.Progress{Phase: "filling the cache " + name, Percent: -1})
		}
	}
	if err = i.finish(ctx, r, err); err != nil {
		return agent.Filled{}, err
	}
	return made, nil
}

func (i *inside) fill(f agent.Fill) (made agent.Filled, err error) {
	if at, reason := agent.CheckCaches(f.Caches); reason != "" {
		return made, fmt.Errorf("fake: cache %s: %s", at, reason)
	}
	c, n := i.container, i.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := i.alive(); err != nil {
		return made, err
	}
	if c.rooms.Level != store.IsolationRooms {
		made.Unshared = "sessions have no rooms, so each has caches of its own"
		return made, nil
	}
	m := c.mirror
	if !m.whole {
		return made, errors.New("fake: nothing was fetched yet")
	}
	_, commit, err := m.refs.resolve("", m.commits)
	if err != nil {
		return made, err
	}
	if m.caches == nil {
		m.caches = make(map[string]fill)
	}
	for _, cache := range f.Caches {
		with := fmt.Sprintf("%s %+v", commit, cache)
		if last := m.caches[cache.Name]; last.with == with && (last.filled || time.Since(last.at) <= refill) {
			continue
		}
		m.caches[cache.Name] = fill{with: with, filled: !n.full, at: time.Now()}
		if n.full {
			made.Failed = append(made.Failed, &agent.FillError{Cache: cache.Name, Message: "no space left on device"})
			continue
		}
		made.Names = append(made.Names, cache.Name)
	}
	made.Size = m.size + int64(len(m.caches))*cacheSize
	n.engine.mu.Lock()
	n.engine.count(c.spec.Name).fills += len(made.Names)
	n.engine.mu.Unlock()
	return made, nil
}
