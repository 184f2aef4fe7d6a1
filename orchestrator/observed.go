package orchestrator

import (
	"slices"
	"sync"
	"time"

	"github.com/berth-go/berth/store"
)

// observations owns the results of earlier sweeps. They show a sweep for how long something has been in its state.
type observations struct {
	poolUID string
	grace   time.Duration // Config.OrphanGrace

	mu         sync.Mutex // protects the fields below
	byInstance map[string]*observation
}

// observation holds the results of the sweeps of one instance.
type observation struct {
	unknown firstSeen[string]    // containers that the store does not have, by their engine's ID
	unused  firstSeen[Resource]  // resources that are not in use
	visited map[string]time.Time // when containers were last visited, by ID
	foreign int                  // containers of another store that uses this pool's name
	states  map[store.ContainerState]int64
}

// of returns the observation of an instance. The caller holds mu.
func (o *observations) of(instance string) *observation {
	seen := o.byInstance[instance]
	if seen == nil {
		seen = new(observation)
		o.byInstance[instance] = seen
	}
	return seen
}

// forget drops the observation of an instance that is gone.
func (o *observations) forget(instance string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.byInstance, instance)
}

// unused returns the resources that were not in use at any look during the grace time.
func (o *observations) unused(instance string, have []Resource, now time.Time) []Resource {
	unused := slices.DeleteFunc(slices.Clone(have), func(r Resource) bool { return r.InUse })
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.of(instance)
	seen.unused = seen.unused.next(unused, now)
	return slices.DeleteFunc(unused, func(r Resource) bool { return seen.unused.age(r, now) < o.grace })
}

// orphans returns the containers of this pool that the store did not have at any look during the grace time. known are
// the containers that the store has, by name.
func (o *observations) orphans(instance string, have []Container, known map[string]*store.Container, now time.Time) []Container {
	var unknown []Container
	var ids []string
	for _, c := range have {
		if known[c.Name] == nil && c.PoolUID == o.poolUID {
			unknown, ids = append(unknown, c), append(ids, c.ID)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.of(instance)
	seen.unknown = seen.unknown.next(ids, now)
	return slices.DeleteFunc(unknown, func(c Container) bool { return seen.unknown.age(c.ID, now) < o.grace })
}

// countForeign counts the containers of another store that uses the same pool name. appeared: there were none before.
func (o *observations) countForeign(instance string, have []Container) (n int, appeared bool) {
	for _, c := range have {
		if c.PoolUID != o.poolUID {
			n++
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.of(instance)
	appeared = n > 0 && seen.foreign == 0
	seen.foreign = n
	return n, appeared
}

// foreign returns how many containers of another store there are on all instances.
func (o *observations) foreign() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, seen := range o.byInstance {
		n += seen.foreign
	}
	return n
}

// countStates counts the containers that the store has on an instance, by state.
func (o *observations) countStates(instance string, known map[string]*store.Container) {
	states := make(map[store.ContainerState]int64)
	for _, c := range known {
		states[StateOf(c)]++
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of(instance).states = states
}

// states returns how many containers there are in each state on all instances.
func (o *observations) states() map[store.ContainerState]int64 {
	all := map[store.ContainerState]int64{store.ContainerStarting: 0, store.ContainerReady: 0, StateEmpty: 0, store.ContainerStopping: 0}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, seen := range o.byInstance {
		for state, n := range seen.states {
			all[state] += n
		}
	}
	return all
}

// due returns the containers that are to be visited now, and counts them as visited. running are the containers of an
// instance that run. Those in use need no visit.
func (o *observations) due(instance string, running []*store.Container, used map[string]bool, now time.Time) []*store.Container {
	var due []*store.Container
	visited := make(map[string]time.Time)
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.of(instance)
	for _, c := range running {
		last, before := seen.visited[c.ID]
		if visited[c.ID] = last; used[c.ID] || before && now.Sub(last) < visitEvery {
			continue
		}
		visited[c.ID] = now
		due = append(due, c)
	}
	seen.visited = visited
	return due
}

// notVisited makes a container due again, because it could not be visited.
func (o *observations) notVisited(c *store.Container) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.of(c.Instance).visited, c.ID)
}
