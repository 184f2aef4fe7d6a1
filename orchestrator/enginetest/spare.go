package enginetest

import (
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// sparesOf returns the networks that were made ahead, taken or not, by the engine's ID.
func sparesOf(f *fixture, h orchestrator.Host) map[string]orchestrator.Resource {
	f.Helper()
	spares := f.resources(h)
	for id, r := range spares {
		if r.Kind != "spare" {
			delete(spares, id)
		}
	}
	return spares
}

// readySpares returns how many of them are in use, as all are soon.
func readySpares(f *fixture, h orchestrator.Host) (n int) {
	f.Helper()
	for _, r := range sparesOf(f, h) {
		if r.InUse {
			n++
		}
	}
	return n
}

// takeSpare ensures a container until it takes a network that is ready. An engine may list a network a moment before it is ready.
func takeSpare(f *fixture, h orchestrator.Host, spec orchestrator.ContainerSpec) (c orchestrator.Container) {
	f.Helper()
	f.eventually("a container takes a network that is ready", func() bool {
		if c = f.ensure(h, spec); !c.Spare {
			if err := h.Remove(f.ctx, spec.Name, c.ID); err != nil {
				f.Fatalf("Remove: %v", err)
			}
		}
		return c.Spare
	})
	return c
}

var spareCases = []testCase{{
	rule: "a network that is ready is listed as in use, serves one container alone, and goes with it; one that no container has taken goes with the connection",
	test: func(f *fixture) {
		h, spec, second := f.connect(f.Pool), f.own(), f.spec(f.Pool, f.Second)
		spec.Spares, second.Spares = 1, 1
		c := f.ensure(h, spec)
		if c.Spare {
			f.Error("the first container has taken a network, before any was asked for")
		}
		if c.Isolation.Level != store.IsolationRooms {
			f.Skip("the engine has no rooms, and so no networks ahead")
		}
		f.eventually("a network is ready", func() bool { return readySpares(f, h) == 1 })
		before := sparesOf(f, h)
		c = takeSpare(f, h, second)
		f.eventually("the next network is ready", func() bool { return readySpares(f, h) == 2 })
		for id, r := range sparesOf(f, h) {
			if r.PoolUID != f.Pool.PoolUID || r.Type == "" {
				f.Errorf("List has %+v; want it the pool's", r)
			}
			if _, old := before[id]; old {
				f.wantErr("RemoveResource of a network that is taken", h.RemoveResource(f.ctx, r), orchestrator.ErrInUse)
			}
		}
		f.fetch(f.attach(h, c.Name), f.Second)
		if again := f.ensure(h, second); !again.Adopted || again.ID != c.ID {
			f.Errorf("a second Ensure has made %+v", again)
		}
		if err := h.Remove(f.ctx, second.Name, c.ID); err != nil {
			f.Errorf("Remove: %v", err)
		}
		f.eventually("the network goes with its container", func() bool { return len(sparesOf(f, h)) == 1 })
		for _, r := range sparesOf(f, h) {
			if err := h.RemoveResource(f.ctx, r); err != nil {
				f.Errorf("RemoveResource of a network that is not taken: %v", err)
			}
		}
		f.ensure(h, second) // which makes another

		other := f.connect(f.Pool)
		f.eventually("a network is ready again", func() bool { return readySpares(f, other) == 1 })
		if err := h.Close(); err != nil {
			f.Errorf("Close: %v", err)
		}
		f.eventually("the network goes with the connection", func() bool { return len(sparesOf(f, other)) == 0 })
	},
}, {
	rule: "without ContainerSpec.Spares nothing is made ahead, and a purge removes what was",
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		c := f.ensure(h, spec)
		if n := len(sparesOf(f, h)); n != 0 || c.Spare {
			f.Errorf("%d networks were made ahead", n)
		}
		second := f.spec(f.Pool, f.Second)
		second.Spares = 2
		if f.ensure(h, second).Isolation.Level == store.IsolationRooms {
			f.eventually("two networks are ready", func() bool { return readySpares(f, h) == 2 })
		}
		if err := h.Purge(f.ctx); err != nil {
			f.Errorf("Purge: %v", err)
		}
		f.eventually("they are gone", func() bool { return len(sparesOf(f, h)) == 0 })
	},
}}
