package enginetest

import (
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

var removeCases = []testCase{{
	rule: "removing things that are absent succeeds",
	test: func(f *fixture) {
		h, name := f.connect(f.Pool), f.own().Name
		if err := h.Remove(f.ctx, name, ""); err != nil {
			f.Errorf("Remove: %v", err)
		}
		if err := h.RemoveMirror(f.ctx, name); err != nil {
			f.Errorf("RemoveMirror: %v", err)
		}
		if err := h.Purge(f.ctx); err != nil {
			f.Errorf("Purge: %v", err)
		}
	},
}, {
	rule: "a removed container is gone, also for those attached to it, and removing it again succeeds",
	test: func(f *fixture) {
		h, in := f.inside()
		name := f.own().Name
		for range 2 {
			if err := h.Remove(f.ctx, name, ""); err != nil {
				f.Errorf("Remove: %v", err)
			}
			if containers, _ := f.list(h); len(containers) != 0 {
				f.Errorf("List still has %v", containers)
			}
		}
		f.wantDone(in, agent.ErrGone)
		_, err := in.Sessions(f.ctx)
		f.wantErr("Sessions", err, agent.ErrGone)
		_, err = h.Attach(f.ctx, name)
		f.wantErr("Attach", err, agent.ErrGone)
	},
}, {
	rule: "removing an earlier container by its ID leaves the one that has its name now",
	test: func(f *fixture) {
		h := f.connect(f.Pool)
		earlier := f.ensure(h, f.own())
		if err := h.Remove(f.ctx, earlier.Name, earlier.ID); err != nil {
			f.Fatalf("Remove: %v", err)
		}
		now := f.ensure(h, f.own())
		in := f.attach(h, now.Name)
		f.fetch(in, f.Remote)
		f.open(in, f.session("s1"))
		if err := h.Remove(f.ctx, now.Name, earlier.ID); err != nil {
			f.Errorf("removing a removed container: %v", err)
		}
		if containers, _ := f.list(h); len(containers) != 1 {
			f.Errorf("List has %v; want the later one", containers)
		}
		f.run(in, "s1", cmdWrite, text("still here"))
		if err := h.Remove(f.ctx, now.Name, now.ID); err != nil {
			f.Errorf("Remove: %v", err)
		}
		if containers, _ := f.list(h); len(containers) != 0 {
			f.Errorf("List still has %v", containers)
		}
	},
}, {
	rule: "a mirror outlives its container, and a session's checkout does not",
	test: func(f *fixture) {
		h, in := f.inside()
		if m := f.fetch(in, f.Remote); !m.Cold {
			f.Errorf("the first fetch returned %+v; want a cold one", m)
		}
		s := f.session("s1")
		c := f.open(in, s)
		f.run(in, s.ID, cmdWrite, text("kept for me"))
		name := f.own().Name
		if err := h.Remove(f.ctx, name, ""); err != nil {
			f.Fatalf("Remove: %v", err)
		}
		if _, mirrors := f.list(h); len(mirrors) != 1 {
			f.Errorf("List has the mirrors %v; want one", mirrors)
		}
		f.ensure(h, f.own())
		in = f.attach(h, name)
		if m := f.fetch(in, f.Remote); m.Cold {
			f.Error("the mirror had to be cloned again")
		}
		f.open(in, s)
		if exit, out, _ := f.run(in, s.ID, cmdRead(note(c)), nil); exit.Code == 0 {
			f.Errorf("a session of the earlier container left a file: %q", out)
		}
	},
}, {
	rule: "a mirror that a container uses is ErrInUse, and can be removed afterwards",
	test: func(f *fixture) {
		h, name := f.connect(f.Pool), f.own().Name
		f.ensure(h, f.own())
		f.wantErr("RemoveMirror", h.RemoveMirror(f.ctx, name), orchestrator.ErrInUse)
		if err := h.Remove(f.ctx, name, ""); err != nil {
			f.Fatalf("Remove: %v", err)
		}
		for range 2 {
			if err := h.RemoveMirror(f.ctx, name); err != nil {
				f.Errorf("RemoveMirror: %v", err)
			}
		}
		f.wantNothing(h)
	},
}, {
	rule: "purging a pool removes everything of it",
	test: func(f *fixture) {
		h := f.connect(f.Pool)
		f.ensure(h, f.own())
		f.ensure(h, f.spec(f.Pool, f.Second))
		in := f.attach(h, f.own().Name)
		if err := h.Purge(f.ctx); err != nil {
			f.Errorf("Purge: %v", err)
		}
		if containers, mirrors := f.list(h); len(containers)+len(mirrors) != 0 {
			f.Errorf("there are still %v and %v", containers, mirrors)
		}
		f.wantDone(in, agent.ErrGone)
		f.ensure(h, f.own()) // the pool can be used again
		f.attach(h, f.own().Name)
	},
}}

var attachCases = []testCase{{
	rule: "attaching by an engine's ID reaches only that container, whichever has its name now",
	test: func(f *fixture) {
		h := f.connect(f.Pool)
		earlier := f.ensure(h, f.own())
		in := f.attach(h, earlier.ID)
		if _, err := in.Sessions(f.ctx); err != nil {
			f.Errorf("Sessions: %v", err)
		}
		if err := h.Remove(f.ctx, earlier.Name, earlier.ID); err != nil {
			f.Fatalf("Remove: %v", err)
		}
		now := f.ensure(h, f.own())
		_, err := h.Attach(f.ctx, earlier.ID)
		f.wantErr("Attach", err, agent.ErrGone)
		f.attach(h, now.ID)
	},
}, {
	rule: "attaching to an absent container is agent.ErrGone",
	test: func(f *fixture) {
		_, err := f.connect(f.Pool).Attach(f.ctx, f.own().Name)
		f.wantErr("Attach", err, agent.ErrGone)
	},
}, {
	rule:  "a container that is killed from outside is agent.ErrGone for all its users",
	needs: needsKill,
	test: func(f *fixture) {
		h, in, s := f.opened()
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdForever})
		f.KillContainer(f.T, f.own().Name)
		f.wantDone(in, agent.ErrGone)
		_, err := f.wait(p)
		f.wantErr("Wait", err, agent.ErrGone)
		f.wantErr("Kill", p.Kill(f.ctx), agent.ErrGone)
		_, err = in.Fetch(f.ctx, agent.Fetch{URL: f.Remote.URL}, nil)
		f.wantErr("Fetch", err, agent.ErrGone)
		_, err = in.Open(f.ctx, s)
		f.wantErr("Open", err, agent.ErrGone)
		f.wantErr("CloseSession", in.CloseSession(f.ctx, s.ID, s.UID), agent.ErrGone)
		_, err = in.Sessions(f.ctx)
		f.wantErr("Sessions", err, agent.ErrGone)
		_, err = in.Start(f.ctx, agent.Command{Session: s.ID, Args: cmdTrue})
		f.wantErr("Start", err, agent.ErrGone)
		_, err = h.Attach(f.ctx, f.own().Name)
		f.wantErr("Attach", err, agent.ErrGone)
		if containers, _ := f.list(h); containers[f.own().Name].Running {
			f.Error("List says that it runs")
		}
	},
}, {
	rule:  "an Inside does not reach the next container of the same name",
	needs: needsRemove,
	test: func(f *fixture) {
		h, in := f.inside()
		f.RemoveContainer(f.T, f.own().Name)
		f.ensure(h, f.own())
		f.wantDone(in, agent.ErrGone)
		_, err := in.Sessions(f.ctx)
		f.wantErr("Sessions", err, agent.ErrGone)
	},
}, {
	rule: "a container may have several Insides, and closing one does not disturb the others",
	test: func(f *fixture) {
		h, first, s := f.opened()
		second := f.attach(h, f.own().Name)
		for range 2 {
			if err := first.Close(); err != nil {
				f.Errorf("Close: %v", err)
			}
		}
		f.wantDone(first, agent.ErrClosed)
		_, err := first.Sessions(f.ctx)
		f.wantErr("Sessions after Close", err, agent.ErrClosed)
		sessions, err := second.Sessions(f.ctx)
		if err != nil || sessions[s.ID] != s.UID {
			f.Errorf("the other one's Sessions returned %v, %v", sessions, err)
		}
		select {
		case <-second.Done():
			f.Errorf("the other one is done: %v", second.Err())
		default:
		}
	},
}, {
	rule: "commands go on when no process is attached",
	test: func(f *fixture) {
		h, first, s := f.opened()
		f.start(first, agent.Command{Session: s.ID, Args: cmdForever})
		if err := first.Close(); err != nil {
			f.Fatal(err)
		}
		second := f.attach(h, f.own().Name)
		if sessions, err := second.Sessions(f.ctx); err != nil || len(sessions) != 1 {
			f.Errorf("Sessions returned %v, %v", sessions, err)
		}
		if err := second.CloseSession(f.ctx, s.ID, s.UID); err != nil {
			f.Errorf("CloseSession: %v", err)
		}
	},
}}
