package enginetest

import (
	"slices"

	"github.com/berth-go/berth/orchestrator"
)

// resources returns the resources that a host lists, by the engine's ID.
func (f *fixture) resources(h orchestrator.Host) map[string]orchestrator.Resource {
	f.Helper()
	held, err := h.List(f.ctx)
	if err != nil {
		f.Fatalf("List: %v", err)
	}
	resources := map[string]orchestrator.Resource{}
	for _, r := range held.Resources {
		resources[r.ID] = r
	}
	return resources
}

var resourceCases = []testCase{{
	rule: "a resource that a container needs is listed as in use, and cannot be removed",
	test: func(f *fixture) {
		h, in, s := f.opened()
		resources := f.resources(h)
		if len(resources) == 0 {
			f.Fatal("List has no resources")
		}
		for _, r := range resources {
			if !r.InUse || r.PoolUID != f.Pool.PoolUID {
				f.Errorf("List has %+v; want it in use, and the pool's", r)
			}
			f.wantErr("RemoveResource "+r.Kind, h.RemoveResource(f.ctx, r), orchestrator.ErrInUse)
		}
		if exit, _, _ := f.run(in, s.ID, cmdTrue, nil); exit.Code != 0 {
			f.Errorf("afterwards, a command ended with %+v", exit)
		}
	},
}, {
	rule:  "a resource that a dead process left is listed as not in use, and can be removed by its own pool only",
	needs: needsPlant,
	test: func(f *fixture) {
		h, other := f.connect(f.Pool), f.connect(f.Other)
		c := f.ensure(h, f.own())
		before := f.resources(h)
		planted := f.PlantResources(f.T, f.Pool)
		resources := f.resources(h)
		if len(planted) == 0 || len(resources) != len(before)+len(planted) {
			f.Errorf("List has %v; want %v and %v", resources, before, planted)
		}
		for _, id := range planted {
			r, there := resources[id]
			if !there || r.InUse || r.PoolUID != f.Pool.PoolUID || r.Kind == "" || r.Type == "" {
				f.Errorf("%s is listed as %+v, %v; want it of the pool, and not in use", id, r, there)
			}
			if err := other.RemoveResource(f.ctx, r); err != nil {
				f.Errorf("another pool's RemoveResource: %v", err)
			}
		}
		for id := range f.resources(other) {
			if slices.Contains(planted, id) {
				f.Errorf("another pool lists %s", id)
			}
		}
		for _, id := range planted {
			if _, there := f.resources(h)[id]; !there {
				f.Errorf("another pool has removed %+v", resources[id])
			}
			for range 2 {
				if err := h.RemoveResource(f.ctx, resources[id]); err != nil {
					f.Errorf("RemoveResource %+v: %v", resources[id], err)
				}
			}
		}
		if left := f.resources(h); len(left) != len(before) {
			f.Errorf("afterwards List has %v; want %v", left, before)
		}
		f.attach(h, c.ID)
		f.ensure(h, f.spec(f.Pool, f.Second))
	},
}, {
	rule:  "purging a pool removes resources that its dead processes left, including those of an earlier store",
	needs: needsPlant,
	test: func(f *fixture) {
		h := f.connect(f.Pool)
		f.ensure(h, f.own())
		f.PlantResources(f.T, f.Pool)
		f.PlantResources(f.T, f.successor())
		f.PlantResources(f.T, f.Other)
		if err := h.Purge(f.ctx); err != nil {
			f.Errorf("Purge: %v", err)
		}
		if left := f.resources(h); len(left) != 0 {
			f.Errorf("there are still %v", left)
		}
		if left := f.resources(f.connect(f.Other)); len(left) == 0 {
			f.Error("it has removed resources of another pool")
		}
	},
}}
