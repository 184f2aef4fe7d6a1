package enginetest

import (
	"strings"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

var (
	cmdOther     = []string{"sleep", "100001"} // beside cmdForever
	cmdProcesses = []string{"sh", "-c", "cat /proc/[0-9]*/cmdline"}
)

var isolationCases = []testCase{{
	rule: "a container says what separates its sessions, when it is made, listed and adopted",
	test: func(f *fixture) {
		h := f.connect(f.Pool)
		made := f.ensure(h, f.own())
		switch i := made.Isolation; {
		case i.Level != store.IsolationRooms && i.Level != store.IsolationUID:
			f.Errorf("the isolation is %+v", i)
		case i.Level == store.IsolationUID && i.Reason == "":
			f.Error("there are no rooms, and no reason is given")
		case i.SharedCheckouts != (i.CheckoutReason == "") || i.SharedCheckouts && i.Level != store.IsolationRooms:
			f.Errorf("checkouts are shared, or there is a reason: %+v", i)
		}
		listed, _ := f.list(h)
		for what, c := range map[string]orchestrator.Container{
			"listed": listed[made.Name], "adopted": f.ensure(f.connect(f.Pool), f.own()),
		} {
			if c.Isolation.Level != made.Isolation.Level {
				f.Errorf("it is %s with %+v, and was made with %+v", what, c.Isolation, made.Isolation)
			}
		}
	},
}, {
	rule: "rooms that are required are given, or refused with a reason, and nothing is left",
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		spec.RequireIsolation = true
		made, err := h.Ensure(f.ctx, spec, nil)
		if err == nil {
			if made.Isolation.Level != store.IsolationRooms {
				f.Errorf("the isolation is %+v", made.Isolation)
			}
			return
		}
		f.wantRefused(h, err)
	},
}, {
	rule:  "an engine that gives no rooms is refused if they are required, and otherwise says why",
	needs: needsRefuseRooms,
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		f.RefuseRooms(f.T, "it is rootless")
		spec.RequireIsolation = true
		_, err := h.Ensure(f.ctx, spec, nil)
		f.wantRefused(h, err)
		if err != nil && !strings.Contains(err.Error(), "it is rootless") {
			f.Errorf("the error does not say why: %v", err)
		}
		spec.RequireIsolation = false
		if i := f.ensure(h, spec).Isolation; i.Level != store.IsolationUID || !strings.Contains(i.Reason, "it is rootless") {
			f.Errorf("the isolation is %+v", i)
		}
	},
}, {
	rule:  "a container without rooms is replaced if they are required",
	needs: needsRefuseRooms,
	test: func(f *fixture) {
		h, spec := f.connect(f.Pool), f.own()
		f.RefuseRooms(f.T, "it is rootless")
		before := f.ensure(h, spec)
		f.RefuseRooms(f.T, "")
		spec.RequireIsolation = true
		if now := f.ensure(h, spec); now.ID == before.ID || now.Adopted || now.Isolation.Level != store.IsolationRooms {
			f.Errorf("%+v was replaced by %+v", before, now)
		}
	},
}, {
	rule:  "a session in a room sees its own processes, and no neighbour's",
	needs: func(r Rig) string { return needs(r.Processes, "runs no real processes") },
	test: func(f *fixture) {
		h := f.connect(f.Pool)
		made := f.ensure(h, f.own())
		if made.Isolation.Level != store.IsolationRooms {
			f.Skipf("skipped: this engine gives no rooms: %s", made.Isolation.Reason)
		}
		in := f.attach(h, made.ID)
		f.fetch(in, f.Remote)
		s1, s2 := f.session("s1"), f.session("s2")
		f.open(in, s1)
		f.open(in, s2)
		f.start(in, agent.Command{Session: s1.ID, Args: cmdForever})
		f.start(in, agent.Command{Session: s2.ID, Args: cmdOther})
		for _, s := range []struct{ id, own, other string }{{s1.ID, cmdForever[1], cmdOther[1]}, {s2.ID, cmdOther[1], cmdForever[1]}} {
			_, seen, _ := f.run(in, s.id, cmdProcesses, nil)
			if !strings.Contains(seen, s.own) || strings.Contains(seen, s.other) || strings.Contains(seen, "serve") {
				f.Errorf("%s sees %q; want its own %s, and neither %s nor the agent", s.id, seen, s.own, s.other)
			}
		}
	},
}}

// wantRefused checks the error of an Ensure that requires rooms, and that it has left nothing.
func (f *fixture) wantRefused(h orchestrator.Host, err error) {
	f.Helper()
	f.wantErr("Ensure", err, orchestrator.ErrNoIsolation)
	if containers, _ := f.list(h); len(containers) > 0 {
		f.Errorf("the refused start has left %v", containers)
	}
}

func needsRefuseRooms(r Rig) string {
	return needs(r.RefuseRooms != nil, "cannot make the engine refuse rooms")
}
