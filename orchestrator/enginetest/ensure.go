package enginetest

import (
	"strings"
	"sync"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

var connectCases = []testCase{{
	rule:  "an engine that cannot be reached is ErrUnreachable, and names the address",
	needs: func(r Rig) string { return needs(r.Unreachable != "", "is reachable everywhere") },
	test: func(f *fixture) {
		at := f.Pool
		at.Address = f.Unreachable
		h, err := f.Engine.Connect(f.ctx, at)
		if err == nil {
			defer h.Close()
			err = h.Probe(f.ctx)
		}
		if err == nil || !strings.Contains(err.Error(), f.Unreachable) {
			f.Errorf("the error is %v; want one that names %s", err, f.Unreachable)
		}
		f.wantErr("Connect or Probe", err, orchestrator.ErrUnreachable)
	},
}, {
	rule:  "another machine at the address is ErrWrongHost",
	needs: func(r Rig) string { return needs(r.WrongHost != "", "has no machine of another launch") },
	test: func(f *fixture) {
		at := f.Pool
		at.Address = f.WrongHost
		h, err := f.Engine.Connect(f.ctx, at)
		if err == nil {
			h.Close()
		}
		f.wantErr("Connect", err, orchestrator.ErrWrongHost)
	},
}, {
	rule: "a probe of a healthy engine succeeds",
	test: func(f *fixture) {
		if err := f.connect(f.Pool).Probe(f.ctx); err != nil {
			f.Errorf("Probe: %v", err)
		}
	},
}, {
	rule: "closing a host twice succeeds",
	test: func(f *fixture) {
		if err := f.connect(f.Pool).Close(); err != nil { // and again when the case ends
			f.Errorf("Close: %v", err)
		}
	},
}}

var ensureCases = []testCase{{
	rule: "an ensured container runs and is listed with its key, its pool and its mirror",
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		c := f.ensure(h, spec)
		containers, mirrors := f.list(h)
		for what, got := range map[string]orchestrator.Container{"Ensure": c, "List": containers[spec.Name]} {
			if got.Name != spec.Name || got.Key != spec.Key || got.PoolUID != f.Pool.PoolUID || !got.Running || got.Adopted {
				f.Errorf("%s returned %+v for %+v", what, got, spec)
			}
			if got.ID != c.ID || c.ID == "" || got.Created.IsZero() {
				f.Errorf("%s returned ID %q and time %v", what, got.ID, got.Created)
			}
		}
		if m := mirrors[spec.Name]; m.Key != spec.Key || m.Created.IsZero() {
			f.Errorf("its mirror is %+v", m)
		}
		if len(containers) != 1 || len(mirrors) != 1 {
			f.Errorf("there are %d containers and %d mirrors; want one of each", len(containers), len(mirrors))
		}
	},
}, {
	rule: "ensuring a container that runs adopts it",
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		first, second := f.ensure(h, spec), f.ensure(h, spec)
		if second.ID != first.ID || !second.Adopted || second.Key != spec.Key {
			f.Errorf("after %+v there is %+v; want the same one, adopted", first, second)
		}
	},
}, {
	rule: "a later process of the same pool adopts a running container, with its sessions",
	test: func(f *fixture) {
		first := f.connect(f.Pool)
		made := f.ensure(first, f.own())
		in := f.attach(first, made.Name)
		f.fetch(in, f.Remote)
		s := f.session("s1")
		f.open(in, s)
		if err := first.Close(); err != nil {
			f.Fatal(err)
		}
		f.wantDone(in, agent.ErrClosed)

		second := f.connect(f.Pool)
		if c := f.ensure(second, f.own()); c.ID != made.ID || !c.Adopted {
			f.Errorf("the second process got %+v; want %s, adopted", c, made.ID)
		}
		sessions, err := f.attach(second, made.Name).Sessions(f.ctx)
		if err != nil || sessions[s.ID] != s.UID {
			f.Errorf("Sessions returned %v, %v", sessions, err)
		}
	},
}, {
	rule: "concurrent ensures make one container",
	test: func(f *fixture) {
		hosts, spec := []orchestrator.Host{f.connect(f.Pool), f.connect(f.Pool)}, f.own()
		ids := make([]string, 6)
		errs := make([]error, len(ids))
		var all sync.WaitGroup
		for i := range ids {
			all.Go(func() {
				c, err := hosts[i%len(hosts)].Ensure(f.ctx, spec, nil)
				ids[i], errs[i] = c.ID, err
			})
		}
		all.Wait()
		for i := range ids {
			if errs[i] != nil || ids[i] == "" || ids[i] != ids[0] {
				f.Errorf("caller %d got container %q, error %v; caller 0 got %q", i, ids[i], errs[i], ids[0])
			}
		}
	},
}, {
	rule:  "a container that was killed from outside is replaced, and its mirror kept",
	needs: needsKill,
	test: func(f *fixture) {
		h, in := f.inside()
		f.fetch(in, f.Remote)
		spec := f.own()
		before, _ := f.list(h)
		f.KillContainer(f.T, spec.Name)
		after := f.ensure(h, spec)
		if after.Adopted || after.ID == before[spec.Name].ID {
			f.Errorf("%+v came after %+v; want a new one", after, before[spec.Name])
		}
		in = f.attach(h, spec.Name)
		if m := f.fetch(in, f.Remote); m.Cold {
			f.Error("the mirror had to be cloned again")
		}
		if sessions, err := in.Sessions(f.ctx); err != nil || len(sessions) != 0 {
			f.Errorf("Sessions returned %v, %v; want none", sessions, err)
		}
	},
}, {
	rule:  "a container that was removed from outside is made again",
	needs: needsRemove,
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		before := f.ensure(h, spec)
		f.RemoveContainer(f.T, spec.Name)
		if after := f.ensure(h, spec); after.Adopted || after.ID == before.ID {
			f.Errorf("%+v came after %+v; want a new one", after, before)
		}
		f.attach(h, spec.Name)
	},
}, {
	rule: "an image that cannot be pulled is ErrImage, names the image, and leaves nothing",
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		spec.Image = "registry.invalid/no/such-image:1"
		_, err := h.Ensure(f.ctx, spec, nil)
		f.wantErr("Ensure", err, orchestrator.ErrImage)
		if err != nil && !strings.Contains(err.Error(), spec.Image) {
			f.Errorf("the error does not name the image: %v", err)
		}
		f.wantNothing(h)
	},
}}

var nameCases = []testCase{{
	rule:  "a stranger's container is ErrNameTaken and is not touched",
	needs: needsStranger,
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		id := f.PlantStranger(f.T, spec.Name)
		_, err := h.Ensure(f.ctx, spec, nil)
		f.wantErr("Ensure", err, orchestrator.ErrNameTaken)
		if _, err := h.Attach(f.ctx, spec.Name); err == nil {
			f.Error("Attach reached a stranger's container")
		}
		if err := h.Remove(f.ctx, spec.Name, ""); err != nil {
			f.Errorf("Remove of a name that the pool does not have: %v", err)
		}
		if err := h.Purge(f.ctx); err != nil {
			f.Errorf("Purge: %v", err)
		}
		if got := f.Stranger(f.T, spec.Name); got != id {
			f.Errorf("the stranger was container %q and is %q", id, got)
		}
		f.wantNothing(h)
	},
}, {
	rule: "a container of another living process with the same pool name is ErrInUse and is not touched",
	test: func(f *fixture) {
		first, spec := f.connect(f.Pool), f.own()
		made := f.ensure(first, spec)
		in := f.attach(first, spec.Name)
		second := f.connect(f.successor())
		_, err := second.Ensure(f.ctx, spec, nil)
		f.wantErr("Ensure", err, orchestrator.ErrInUse)
		f.wantErr("Remove", second.Remove(f.ctx, spec.Name, ""), orchestrator.ErrInUse)
		if err := second.Purge(f.ctx); err != nil {
			f.Errorf("Purge beside a living process: %v", err)
		}
		if containers, _ := f.list(first); containers[spec.Name].ID != made.ID || !containers[spec.Name].Running {
			f.Errorf("the first process has %+v; want %+v", containers[spec.Name], made)
		}
		if _, err := in.Sessions(f.ctx); err != nil {
			f.Errorf("the first process cannot use it any more: %v", err)
		}
	},
}, {
	rule: "a container that a process with the same pool name left when it ended is replaced",
	test: func(f *fixture) {
		first, spec := f.connect(f.Pool), f.own()
		made := f.ensure(first, spec)
		f.attach(first, spec.Name)
		if err := first.Close(); err != nil { // as if the process had ended: no caller is attached
			f.Fatal(err)
		}
		at := f.successor()
		if c := f.ensure(f.connect(at), spec); c.ID == made.ID || c.Adopted || c.PoolUID != at.PoolUID {
			f.Errorf("the second process got %+v; want one of its own", c)
		}
	},
}, {
	rule: "two pools on one engine do not see each other",
	test: func(f *fixture) {
		one, other := f.connect(f.Pool), f.connect(f.Other)
		mine, theirs := f.own(), f.spec(f.Other, f.Remote)
		made := f.ensure(one, mine)
		if containers, mirrors := f.list(other); len(containers)+len(mirrors) != 0 {
			f.Errorf("the other pool lists %v and %v", containers, mirrors)
		}
		f.ensure(other, theirs)
		if err := other.Remove(f.ctx, mine.Name, ""); err != nil {
			f.Errorf("Remove of another pool's container: %v; want success, since the pool has none of that name", err)
		}
		if err := other.RemoveMirror(f.ctx, mine.Name); err != nil {
			f.Errorf("RemoveMirror of another pool's mirror: %v; want success, since the pool has none of that name", err)
		}
		_, err := other.Attach(f.ctx, mine.Name)
		f.wantErr("Attach to another pool's container", err, agent.ErrGone)
		if err := other.Purge(f.ctx); err != nil {
			f.Errorf("Purge: %v", err)
		}
		containers, mirrors := f.list(one)
		if c := containers[mine.Name]; len(containers) != 1 || c.ID != made.ID || !c.Running || len(mirrors) != 1 {
			f.Errorf("after the other pool was purged there are %v and %v", containers, mirrors)
		}
	},
}, {
	rule: "a name that another pool uses is ErrNameTaken",
	test: func(f *fixture) {
		spec := f.own()
		one := f.connect(f.Pool)
		made := f.ensure(one, spec)
		_, err := f.connect(f.Other).Ensure(f.ctx, spec, nil)
		f.wantErr("Ensure", err, orchestrator.ErrNameTaken)
		if containers, _ := f.list(one); containers[spec.Name].ID != made.ID {
			f.Errorf("there is %+v; want %+v", containers[spec.Name], made)
		}
	},
}, {
	rule: "a name that another key of the pool uses is ErrNameTaken",
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		made := f.ensure(h, spec)
		spec.Key.Scope = "another"
		_, err := h.Ensure(f.ctx, spec, nil)
		f.wantErr("Ensure", err, orchestrator.ErrNameTaken)
		if containers, _ := f.list(h); containers[spec.Name].ID != made.ID {
			f.Errorf("there is %+v; want %+v", containers[spec.Name], made)
		}
	},
}}
