package enginetest

import (
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// commands returns the commands of a session, in as many calls as it takes.
func (f *fixture) commands(in orchestrator.Inside, session string) (all []agent.CommandInfo) {
	f.Helper()
	for after := uint64(0); ; {
		some, err := in.Commands(f.ctx, session, after)
		if err != nil {
			f.Fatalf("Commands: %v", err)
		}
		for _, c := range some {
			if c.Seq <= after {
				f.Fatalf("Commands after %d returns number %d", after, c.Seq)
			}
			after = c.Seq
		}
		all = append(all, some...)
		if len(some) < agent.CommandPage {
			return all
		}
	}
}

var listingCases = []testCase{{
	rule: "the commands of a session are listed in the order of their starts, with how they ended",
	test: func(f *fixture) {
		_, in, s := f.opened()
		if all := f.commands(in, s.ID); len(all) != 0 {
			f.Fatalf("a new session has the commands %q", all)
		}
		begun := time.Now()
		r, w := pipe()
		runs := f.start(in, agent.Command{Session: s.ID, Args: cmdCat, Stdin: r})
		f.run(in, s.ID, cmdExit3, nil)
		f.run(in, s.ID, cmdKilled, nil)
		if _, err := in.Start(f.ctx, agent.Command{Session: s.ID, Args: cmdAbsent}); err == nil {
			f.Fatal("a program that is not there was started")
		}
		want := []struct {
			args []string
			exit agent.Exit
			ends bool
		}{{cmdCat, agent.Exit{}, false}, {cmdExit3, agent.Exit{Code: 3}, true}, {cmdKilled, agent.Exit{Code: -1, Signal: 15}, true}}
		check := func() {
			f.Helper()
			all := f.commands(in, s.ID)
			if len(all) != len(want) {
				f.Fatalf("%d commands are listed, want %d", len(all), len(want))
			}
			for i, c := range all {
				if !slices.Equal(c.Args, want[i].args) || c.ArgsCut || c.Exit != want[i].exit || c.Ended.IsZero() == want[i].ends || c.ID == "" || c.Pid <= 0 {
					f.Errorf("command %d is %+q, process %d, ended at %v with %+v; want %+v", i, c.Args, c.Pid, c.Ended, c.Exit, want[i])
				}
				if now := time.Now(); c.Started.Before(begun) || c.Started.After(now) || want[i].ends && (c.Ended.Before(c.Started.Add(-time.Second)) || c.Ended.After(now)) {
					f.Errorf("command %d began at %v and ended at %v; all was between %v and %v", i, c.Started, c.Ended, begun, now)
				}
			}
			if all[0].ID != runs.ID() {
				f.Errorf("the ID %q is listed as %q", runs.ID(), all[0].ID)
			}
		}
		check()
		w.Close()
		if _, err := f.wait(runs); err != nil {
			f.Fatalf("Wait: %v", err)
		}
		want[0].ends = true
		check()
	},
}, {
	rule: "a listed command has the bytes that it has written, except those to /dev/null",
	test: func(f *fixture) {
		_, in, s := f.opened()
		var out, errs, shared buffer
		for _, c := range []agent.Command{
			{Stdout: &out, Stderr: &errs}, {Stdout: &shared, Stderr: &shared}, {Stderr: &errs}, {},
		} {
			c.Session, c.Args = s.ID, cmdBoth
			if _, err := f.wait(f.start(in, c)); err != nil {
				f.Fatalf("Wait: %v", err)
			}
		}
		want := [][2]int64{{4, 4}, {8, 0}, {0, 4}, {0, 0}}
		for i, c := range f.commands(in, s.ID) {
			if got := [2]int64{c.Stdout, c.Stderr}; got != want[i] {
				f.Errorf("command %d has written %d, want %d", i, got, want[i])
			}
		}
		zeroed := f.start(in, agent.Command{Session: s.ID, Args: cmdPage, Stdout: &out})
		if _, err := f.wait(zeroed); err != nil {
			f.Fatalf("Wait: %v", err)
		}
		if all := f.commands(in, s.ID); len(all) != 5 || all[4].Stdout != page {
			f.Errorf("%+v; want a fifth command that has written %d bytes", all, page)
		}
	},
}, {
	rule: "a command is listed for every client, also when the Inside that started it is closed",
	test: func(f *fixture) {
		h, in, s := f.opened()
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdForever})
		if err := in.Close(); err != nil {
			f.Errorf("Close: %v", err)
		}
		all := f.commands(f.attach(h, f.own().Name), s.ID)
		if len(all) != 1 || all[0].ID != p.ID() || !all[0].Ended.IsZero() {
			f.Errorf("%+v; want the command %s, which runs", all, p.ID())
		}
	},
}, {
	rule: "a command that was killed is listed as such",
	test: func(f *fixture) {
		_, in, s := f.opened()
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdTree})
		if err := p.Kill(f.ctx); err != nil {
			f.Fatalf("Kill: %v", err)
		}
		if _, err := f.wait(p); err != nil {
			f.Fatalf("Wait: %v", err)
		}
		if all := f.commands(in, s.ID); len(all) != 1 || all[0].Exit != (agent.Exit{Code: -1, Signal: 9}) {
			f.Errorf("%+v", all)
		}
	},
}, {
	rule: "those commands are listed that run, and the last ones that have ended",
	test: func(f *fixture) {
		_, in, s := f.opened()
		f.start(in, agent.Command{Session: s.ID, Args: cmdForever})
		const more = 5
		var ids []string
		for range agent.MostEnded + more {
			p := f.start(in, agent.Command{Session: s.ID, Args: cmdTrue})
			if _, err := f.wait(p); err != nil {
				f.Fatalf("Wait: %v", err)
			}
			ids = append(ids, p.ID())
		}
		all := f.commands(in, s.ID)
		if len(all) != 1+agent.MostEnded || !all[0].Ended.IsZero() {
			f.Fatalf("%d commands are listed, the first of which ended at %v", len(all), all[0].Ended)
		}
		for i, c := range all[1:] {
			if c.ID != ids[more+i] {
				f.Fatalf("command %d is %s, want %s", i, c.ID, ids[more+i])
			}
		}
	},
}, {
	rule: "of long arguments a part is listed",
	test: func(f *fixture) {
		_, in, s := f.opened()
		long := strings.Repeat("long ", agent.MostArguments)
		for _, args := range [][]string{{"true", long, "more"}, append([]string{"true"}, make([]string, 2*agent.MostWords)...)} {
			p := f.start(in, agent.Command{Session: s.ID, Args: args})
			if _, err := f.wait(p); err != nil {
				f.Fatalf("Wait: %v", err)
			}
		}
		all := f.commands(in, s.ID)
		if len(all) != 2 || !all[0].ArgsCut || !all[1].ArgsCut || len(all[1].Args) != agent.MostWords ||
			!slices.Equal(all[0].Args, []string{"true", long[:agent.MostArguments-len("true")]}) {
			f.Errorf("%d commands: %q", len(all), all)
		}
	},
}, {
	rule: "the ended commands of a session are forgotten when their arguments are too many bytes",
	test: func(f *fixture) {
		_, in, s := f.opened()
		const most = agent.MostRecalled / agent.MostArguments
		args := []string{"true", strings.Repeat("x", agent.MostArguments-len("true"))}
		for range most + 3 {
			p := f.start(in, agent.Command{Session: s.ID, Args: args})
			if _, err := f.wait(p); err != nil {
				f.Fatalf("Wait: %v", err)
			}
		}
		if all := f.commands(in, s.ID); len(all) != most || all[0].Seq != 4 || all[0].ArgsCut {
			f.Errorf("%d commands are listed from number %d on, want %d from 4 on", len(all), all[0].Seq, most)
		}
	},
}, {
	rule: "the commands of a session that is not open are agent.ErrUnknownSession, and those of another are not listed",
	test: func(f *fixture) {
		_, in, s := f.opened()
		_, err := in.Commands(f.ctx, "never-opened", 0)
		f.wantErr("Commands", err, agent.ErrUnknownSession)
		other := f.session("s2")
		f.open(in, other)
		f.run(in, s.ID, cmdTrue, nil)
		if all := f.commands(in, other.ID); len(all) != 0 {
			f.Errorf("another session's commands are listed: %+v", all)
		}
		if err := in.CloseSession(f.ctx, s.ID, s.UID); err != nil {
			f.Fatalf("CloseSession: %v", err)
		}
		_, err = in.Commands(f.ctx, s.ID, 0)
		f.wantErr("Commands of a closed session", err, agent.ErrUnknownSession)
	},
}}
