package enginetest

import (
	"io"
	"strings"

	"github.com/berth-go/berth/agent"
)

func text(s string) io.Reader { return strings.NewReader(s) }

var sessionCases = []testCase{{
	rule: "a session starts at its branch, or at the default branch",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		for _, asked := range []string{"", f.Remote.Branch} {
			s := f.session("s" + asked)
			s.Branch = asked
			branch := asked
			if branch == "" {
				branch = f.Remote.Default
			}
			c := f.open(in, s)
			if c.Branch != branch || c.Commit != f.Remote.Head(branch) || c.Workdir == "" {
				f.Errorf("the checkout of %q is %+v; want %s at %s", asked, c, branch, f.Remote.Head(branch))
			}
			if _, dir, _ := f.run(in, s.ID, cmdDir, nil); strings.TrimSpace(dir) != c.Workdir {
				f.Errorf("a command runs in %q; want %q", dir, c.Workdir)
			}
		}
	},
}, {
	rule: "a name is that of a branch, of a tag, or a commit's ID; with the last two, HEAD is detached",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		head := f.Remote.Head(f.Remote.Branch)
		for _, c := range []struct{ name, branch, commit string }{
			{"refs/heads/" + f.Remote.Branch, f.Remote.Branch, head},
			{"origin/" + f.Remote.Branch, f.Remote.Branch, head},
			{f.Remote.Tag, "", f.Remote.Tagged},
			{"refs/tags/" + f.Remote.Tag, "", f.Remote.Tagged},
			{head, "", head},
			{head[:10], "", head},
		} {
			s := f.session("s-" + strings.ReplaceAll(c.name, "/", "-"))
			s.Branch = c.name
			if got := f.open(in, s); got.Branch != c.branch || got.Commit != c.commit {
				f.Errorf("the checkout of %q is %+v; want %q at %s", c.name, got, c.branch, c.commit)
			}
		}
		for _, name := range []string{"refs/heads/" + f.Remote.Tag, "refs/tags/" + f.Remote.Branch, "1234567", strings.Repeat("7", 40)} {
			s := f.session("none")
			s.Branch = name
			_, err := in.Open(f.ctx, s)
			f.wantErr("Open of "+name, err, agent.ErrBranchNotFound)
			if err != nil && strings.Count(err.Error(), name) != 1 {
				f.Errorf("the error does not say %q once: %v", name, err)
			}
		}
	},
}, {
	rule: "a session may have its own copy of the objects, and begins like any other",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		s := f.session("s1")
		s.SelfContained = true
		if c := f.open(in, s); !c.SelfContained || c.Branch != f.Remote.Default || c.Commit != f.Remote.Head(c.Branch) {
			f.Errorf("the checkout is %+v", c)
		}
		if exit, _, errs := f.run(in, s.ID, cmdTrue, nil); exit.Code != 0 {
			f.Errorf("a command ended with %+v: %s", exit, errs)
		}
	},
}, {
	rule: "opening an open session returns its checkout",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		s := f.session("s1")
		first := f.open(in, s)
		f.run(in, s.ID, cmdWrite, text("mine"))
		if second := f.open(in, s); second != first {
			f.Errorf("the second time it is %+v; want %+v", second, first)
		}
		if _, got, _ := f.run(in, s.ID, cmdRead(note(first)), nil); got != "mine" {
			f.Errorf("the file that the session wrote holds %q", got)
		}
	},
}, {
	rule: "a session of a branch that is not there is agent.ErrBranchNotFound and leaves nothing",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		s := f.session("s1")
		s.Branch = "no-such-branch"
		_, err := in.Open(f.ctx, s)
		f.wantErr("Open", err, agent.ErrBranchNotFound)
		if sessions, err := in.Sessions(f.ctx); err != nil || len(sessions) != 0 {
			f.Errorf("Sessions returned %v, %v; want none", sessions, err)
		}
		_, err = in.Start(f.ctx, agent.Command{Session: s.ID, Args: cmdTrue})
		f.wantErr("Start", err, agent.ErrUnknownSession)
		s.Branch = ""
		f.open(in, s)
	},
}, {
	rule: "open sessions are listed with their uids",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		a, b := f.session("s1"), f.session("s2")
		f.open(in, a)
		f.open(in, b)
		sessions, err := in.Sessions(f.ctx)
		if err != nil || len(sessions) != 2 || sessions[a.ID] != a.UID || sessions[b.ID] != b.UID {
			f.Errorf("Sessions returned %v, %v", sessions, err)
		}
	},
}, {
	rule: "closing a session ends its commands and removes it; closing it again succeeds",
	test: func(f *fixture) {
		_, in, s := f.opened()
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdTree})
		for range 2 {
			if err := in.CloseSession(f.ctx, s.ID, s.UID); err != nil {
				f.Fatalf("CloseSession: %v", err)
			}
		}
		if exit, err := f.wait(p); err == nil && exit.Signal != 9 {
			f.Errorf("its command ended with %+v; want signal 9", exit)
		}
		if sessions, err := in.Sessions(f.ctx); err != nil || len(sessions) != 0 {
			f.Errorf("Sessions returned %v, %v; want none", sessions, err)
		}
		_, err := in.Start(f.ctx, agent.Command{Session: s.ID, Args: cmdTrue})
		f.wantErr("Start", err, agent.ErrUnknownSession)
	},
}, {
	rule: "a session that follows one with the same uid finds nothing of it",
	test: func(f *fixture) {
		_, in, s := f.opened()
		f.run(in, s.ID, cmdWrite, text("secret"))
		if err := in.CloseSession(f.ctx, s.ID, s.UID); err != nil {
			f.Fatalf("CloseSession: %v", err)
		}
		c := f.open(in, s)
		if exit, got, _ := f.run(in, s.ID, cmdRead(note(c)), nil); exit.Code == 0 {
			f.Errorf("it reads %q", got)
		}
	},
}, {
	rule: "closing an unknown session succeeds",
	test: func(f *fixture) {
		_, in := f.inside()
		if err := in.CloseSession(f.ctx, "never-opened", firstUID); err != nil {
			f.Errorf("CloseSession: %v", err)
		}
	},
}, {
	rule: "closing one session leaves the others alone",
	test: func(f *fixture) {
		_, in, s := f.opened()
		other := f.session("s2")
		c := f.open(in, other)
		f.run(in, other.ID, cmdWrite, text("mine"))
		if err := in.CloseSession(f.ctx, s.ID, s.UID); err != nil {
			f.Fatalf("CloseSession: %v", err)
		}
		if _, got, _ := f.run(in, other.ID, cmdRead(note(c)), nil); got != "mine" {
			f.Errorf("the other session reads %q", got)
		}
	},
}, {
	rule: "a session reads its neighbour's files neither in the checkout nor in the home nor in the temporary directory",
	test: func(f *fixture) {
		_, in, s := f.opened()
		neighbour := f.session("s2")
		c := f.open(in, neighbour)
		f.run(in, neighbour.ID, cmdWrite, text("private"))
		_, kept, _ := f.run(in, neighbour.ID, cmdKeep, text("private"))
		files := append(strings.Fields(kept), note(c))
		if len(files) != 3 {
			f.Fatalf("the neighbour kept %q", kept)
		}
		for _, file := range files {
			if _, got, _ := f.run(in, neighbour.ID, cmdRead(file), nil); got != "private" {
				f.Fatalf("the neighbour itself reads %q in %s", got, file)
			}
			if exit, got, _ := f.run(in, s.ID, cmdRead(file), nil); exit.Code == 0 || got != "" {
				f.Errorf("it reads %q in %s", got, file)
			}
		}
	},
}, {
	rule: "a session's environment reaches its own commands only",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		a, b := f.session("s1"), f.session("s2")
		a.Env = map[string]string{"GREETING": "from the session"}
		f.open(in, a)
		f.open(in, b)
		if _, got, _ := f.run(in, a.ID, cmdGreeting, nil); got != "from the session\n" {
			f.Errorf("its command sees %q", got)
		}
		if _, got, _ := f.run(in, b.ID, cmdGreeting, nil); got != "\n" {
			f.Errorf("the neighbour's command sees %q", got)
		}
	},
}}
