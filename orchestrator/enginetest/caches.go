package enginetest

import (
	"slices"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// shared is a cache that can be filled from any repository.
func shared() agent.Cache {
	return agent.Cache{
		Name: "shared", Dir: "shared/dir", Files: []string{"*"}, MaxBytes: 1 << 20,
		Fill: []string{"sh", "-c", "mkdir -p ~/shared/dir && echo filled > ~/shared/dir/file"},
	}
}

// wantFilled checks which caches a call fills.
func (f *fixture) wantFilled(when string, in orchestrator.Inside, want ...string) {
	f.Helper()
	made, err := in.FillCaches(f.ctx, agent.Fill{URL: f.Remote.URL, Caches: []agent.Cache{shared()}}, nil)
	if err != nil || len(made.Failed) > 0 || made.Unshared != "" || !slices.Equal(made.Names, want) {
		f.Errorf("%s: FillCaches returns %+v, %v; want %q", when, made, err, want)
	}
}

var cacheCases = []testCase{{
	rule: "a cache is filled from the default branch, once until that changes, and survives the container",
	test: func(f *fixture) {
		h := f.connect(f.Pool)
		c := f.ensure(h, f.own())
		in := f.attach(h, c.Name)
		f.fetch(in, f.Remote)
		if c.Isolation.Level != store.IsolationRooms {
			made, err := in.FillCaches(f.ctx, agent.Fill{URL: f.Remote.URL, Caches: []agent.Cache{shared()}}, nil)
			if err != nil || made.Unshared == "" || len(made.Names) > 0 {
				f.Errorf("without rooms FillCaches returns %+v, %v", made, err)
			}
			return
		}
		f.wantFilled("at first", in, "shared")
		f.wantFilled("again", in)
		f.Remote.Commit(f.T, f.Remote.Branch)
		f.fetch(in, f.Remote)
		f.wantFilled("after a commit to another branch", in)
		s := f.session("s1")
		s.Caches = []agent.SharedDir{{Name: "shared", Dir: "shared/dir"}, {Name: "none", Dir: "none"}}
		f.open(in, s)
		if err := in.CloseSession(f.ctx, s.ID, s.UID); err != nil {
			f.Errorf("CloseSession: %v", err)
		}
		if err := h.Remove(f.ctx, c.Name, ""); err != nil {
			f.Fatalf("Remove: %v", err)
		}
		in = f.attach(h, f.ensure(h, f.own()).Name)
		f.fetch(in, f.Remote)
		f.wantFilled("in another container", in)
	},
}, {
	rule: "a cache that no session can have is refused",
	test: func(f *fixture) {
		_, in, _ := f.opened()
		bad := shared()
		bad.Dir = "../dir"
		if made, err := in.FillCaches(f.ctx, agent.Fill{URL: f.Remote.URL, Caches: []agent.Cache{bad}}, nil); err == nil {
			f.Errorf("FillCaches returns %+v", made)
		}
		s := f.session("s2")
		s.Caches = []agent.SharedDir{{Name: "a", Dir: "d"}, {Name: "b", Dir: "d/d"}}
		if _, err := in.Open(f.ctx, s); err == nil {
			f.Errorf("Open of a session with a cache in another succeeds")
		}
	},
}}
