package enginetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/berth-go/berth/agent"
)

var commandCases = []testCase{{
	rule: "a command's exit code or signal is reported",
	test: func(f *fixture) {
		_, in, s := f.opened()
		for _, c := range []struct {
			args []string
			want agent.Exit
		}{
			{cmdTrue, agent.Exit{}},
			{cmdFalse, agent.Exit{Code: 1}},
			{cmdExit3, agent.Exit{Code: 3}},
			{cmdKilled, agent.Exit{Code: -1, Signal: 15}},
		} {
			if exit, _, _ := f.run(in, s.ID, c.args, nil); exit != c.want {
				f.Errorf("%q ended with %+v; want %+v", c.args, exit, c.want)
			}
		}
	},
}, {
	rule: "a command's environment is added to the session's, and the last of equal keys wins",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		s := f.session("s1")
		s.Env = map[string]string{"GREETING": "session"}
		f.open(in, s)
		var out buffer
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdGreeting, Env: []string{"GREETING=first", "GREETING=last"}, Stdout: &out})
		if _, err := f.wait(p); err != nil || out.String() != "last\n" {
			f.Errorf("it sees %q, and Wait returned %v", out.String(), err)
		}
	},
}, {
	rule: "a command runs in its directory",
	test: func(f *fixture) {
		_, in, s := f.opened()
		var out buffer
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdDir, Dir: "/", Stdout: &out})
		if _, err := f.wait(p); err != nil || out.String() != "/\n" {
			f.Errorf("it runs in %q, and Wait returned %v", out.String(), err)
		}
	},
}, {
	rule: "a command of an unknown session is agent.ErrUnknownSession",
	test: func(f *fixture) {
		_, in := f.inside()
		_, err := in.Start(f.ctx, agent.Command{Session: "never-opened", Args: cmdTrue})
		f.wantErr("Start", err, agent.ErrUnknownSession)
	},
}, {
	rule: "a program that is not there is agent.ErrNotExecutable",
	test: func(f *fixture) {
		_, in, s := f.opened()
		_, err := in.Start(f.ctx, agent.Command{Session: s.ID, Args: cmdAbsent})
		f.wantErr("Start", err, agent.ErrNotExecutable)
		_, err = in.Start(f.ctx, agent.Command{Session: s.ID})
		f.wantErr("Start of nothing", err, agent.ErrNotExecutable)
	},
}, {
	rule: "killing a command ends everything that it started, and killing it again succeeds",
	test: func(f *fixture) {
		_, in, s := f.opened()
		var out buffer // its pipe stays open as long as any of them lives
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdTree, Stdout: &out})
		for range 2 {
			if err := p.Kill(f.ctx); err != nil {
				f.Errorf("Kill: %v", err)
			}
		}
		if exit, err := f.wait(p); err != nil || exit != (agent.Exit{Code: -1, Signal: 9}) {
			f.Errorf("Wait returned %+v, %v", exit, err)
		}
		if err := p.Kill(f.ctx); err != nil {
			f.Errorf("Kill after Wait: %v", err)
		}
	},
}, {
	rule: "killing one command leaves the session's others alone",
	test: func(f *fixture) {
		_, in, s := f.opened()
		r, w := pipe()
		var out buffer
		stays := f.start(in, agent.Command{Session: s.ID, Args: cmdCat, Stdin: r, Stdout: &out})
		goes := f.start(in, agent.Command{Session: s.ID, Args: cmdForever})
		if err := goes.Kill(f.ctx); err != nil {
			f.Errorf("Kill: %v", err)
		}
		f.write(w, "still here")
		w.Close()
		if exit, err := f.wait(stays); err != nil || exit.Code != 0 || out.String() != "still here" {
			f.Errorf("the other one ended with %+v, %v and printed %q", exit, err, out.String())
		}
	},
}, {
	rule: "the context of Start does not bound the command",
	test: func(f *fixture) {
		_, in, s := f.opened()
		ctx, cancel := context.WithCancel(f.ctx)
		r, w := pipe()
		var out buffer
		p, err := in.Start(ctx, agent.Command{Session: s.ID, Args: cmdCat, Stdin: r, Stdout: &out})
		if err != nil {
			f.Fatal(err)
		}
		cancel()
		f.write(w, "still here")
		w.Close()
		if exit, err := f.wait(p); err != nil || exit.Code != 0 || out.String() != "still here" {
			f.Errorf("it ended with %+v, %v and printed %q", exit, err, out.String())
		}
	},
}, {
	rule: "a start that is given up leaves nothing running",
	test: func(f *fixture) {
		_, in, s := f.opened()
		for _, after := range []time.Duration{time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(f.ctx, after)
			p, err := in.Start(ctx, agent.Command{Session: s.ID, Args: cmdForever})
			cancel()
			if err == nil { // it was faster
				err = p.Kill(f.ctx)
			} else if errors.Is(err, context.DeadlineExceeded) {
				err = nil
			}
			if err != nil {
				f.Errorf("after %v: %v", after, err)
			}
			f.eventually("nothing runs", func() bool { return f.idle(in, s.ID) > 0 })
		}
	},
}, {
	rule: "many commands run at once",
	test: func(f *fixture) {
		_, in, s := f.opened()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				var out buffer
				p, err := in.Start(f.ctx, agent.Command{Session: s.ID, Args: cmdEcho, Stdout: &out})
				if err != nil {
					f.Errorf("Start: %v", err)
					return
				}
				if exit, err := p.Wait(); err != nil || exit.Code != 0 || out.String() != "hello\n" {
					f.Errorf("one ended with %+v, %v and printed %q", exit, err, out.String())
				}
			})
		}
		all.Wait()
	},
}}
