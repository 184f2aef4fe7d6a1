package admission

import (
	"slices"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// existing is a container of the sharing key, with its instance.
type existing struct {
	container *store.Container
	instance  *store.Instance
	unfit     bool // the settings with which it was started are not those of this process
}

// decision is what becomes of a session that needs a place. The zero value: it waits.
type decision struct {
	join      *store.Container   // the container that it joins; nil = none
	create    bool               // it gets a new container, on one of some instances
	instances []string           // these instances, the best first; for create
	supersede []*store.Container // containers that no session joins any more once this one has its place
	giveUp    []*store.Container // empty containers that are removed, whatever becomes of the session
}

// choose decides where a session goes, by the containers that its sharing key has, the instances that may take a new one,
// and how many containers the sharing key may have. It changes nothing.
func choose(containers []existing, candidates []string, limit int) decision {
	var (
		joinable int
		removing bool               // a container is being removed: the next one takes its place, where the mirror is
		spare    *store.Container   // one that was superseded, has room, and may be the last that is left
		beside   []*store.Container // those that run and cannot be joined
		busy     []string           // instances that have a container of this name
		unfit    []*store.Container // empty ones
	)
	for _, e := range containers {
		c, in := e.container, e.instance
		busy = append(busy, in.ID)
		if orchestrator.Joinable(c, in) {
			if e.unfit && c.Sessions == 0 {
				unfit, removing = append(unfit, c), true
				continue
			}
			if pool.HasSlot(in) {
				return decision{join: c, giveUp: unfit}
			}
			joinable++
			continue
		}
		removing = removing || in.State == store.InstanceReady && !c.Superseded
		switch {
		case c.State == store.ContainerStopping:
		case c.Superseded && in.State == store.InstanceReady && pool.HasSlot(in):
			spare = c
		case !c.Superseded:
			beside = append(beside, c)
		}
	}
	switch {
	case removing || joinable >= limit:
		return decision{giveUp: unfit}
	case spare != nil:
		return decision{join: spare, supersede: beside}
	}
	free := slices.DeleteFunc(slices.Clone(candidates), func(id string) bool { return slices.Contains(busy, id) })
	return decision{create: true, instances: free, supersede: beside}
}
