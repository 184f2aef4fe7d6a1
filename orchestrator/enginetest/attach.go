package enginetest

import (
	"errors"
	"io"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// attached attaches a command and waits for its end. It returns what its stdout has from an offset on.
func (f *fixture) attached(in orchestrator.Inside, session, id string, from int64) (out string, at agent.Attached, exit agent.Exit, err error) {
	f.Helper()
	var b buffer
	p, at, err := in.AttachCommand(f.ctx, agent.Attach{Session: session, ID: id, Stdout: &b, StdoutFrom: from})
	if err != nil {
		f.Fatalf("Attach: %v", err)
	}
	exit, err = f.wait(p)
	return b.String(), at, exit, err
}

var detachedCases = []testCase{{
	rule: "a detached command goes on without its caller, and every other one has its streams and its exit",
	test: func(f *fixture) {
		h, in, s := f.opened()
		r, w := pipe()
		defer w.Close()
		started, _ := f.said(in, agent.Command{Session: s.ID, Args: cmdAnswer, Stdin: r, Detached: true}, "one\n")
		if err := in.Close(); err != nil {
			f.Fatal(err)
		}
		_, err := f.wait(started)
		f.wantErr("Wait behind Close", err, agent.ErrClosed)

		in = f.attach(h, f.own().Name)
		id := started.ID()
		var seen, both buffer
		keys, typed := pipe()
		watches, _, err := in.AttachCommand(f.ctx, agent.Attach{Session: s.ID, ID: id, Stdout: &seen})
		if err != nil {
			f.Fatal(err)
		}
		types, _, err := in.AttachCommand(f.ctx, agent.Attach{Session: s.ID, ID: id, Stdout: &both, Stdin: keys, Ended: func(agent.Exit, error) { typed.Close() }})
		if err != nil {
			f.Fatal(err)
		}
		leaves, _, err := in.AttachCommand(f.ctx, agent.Attach{Session: s.ID, ID: id, Stdout: io.Discard})
		if err != nil {
			f.Fatal(err)
		}
		leaves.Detach()
		if _, err := f.wait(leaves); err == nil {
			f.Error("one that has let go of the command has its exit")
		}
		f.write(typed, "x\n")
		for _, p := range []orchestrator.Process{watches, types} {
			if exit, err := f.wait(p); err != nil || exit != (agent.Exit{}) {
				f.Errorf("it ended with %+v, %v", exit, err)
			}
		}
		if seen.String() != "one\ntwo\n" || both.String() != "one\ntwo\n" {
			f.Errorf("the output is %q and %q", seen.String(), both.String())
		}
		for from, want := range map[int64]string{0: "one\ntwo\n", 2: "e\ntwo\n", -4: "two\n", -100: "one\ntwo\n", 8: ""} {
			if out, _, exit, err := f.attached(in, s.ID, id, from); err != nil || exit != (agent.Exit{}) || out != want {
				f.Errorf("from %d on it is %q, and it ended with %+v, %v", from, out, exit, err)
			}
		}
		if all := f.commands(in, s.ID); len(all) != 1 || !all[0].Detached || all[0].Stdout != 8 {
			f.Errorf("listed are %+v", all)
		}
	},
}, {
	rule: "the end of a detached command's output is kept until the command is deleted, and what is missing is told",
	test: func(f *fixture) {
		_, in, s := f.opened()
		const keep = 1 << 20
		p := f.start(in, agent.Command{Session: s.ID, Args: cmdZeros, Stdout: io.Discard, Detached: true, Keep: keep})
		_, err := f.wait(p)
		if _, cut := errors.AsType[*agent.CutError](err); err != nil && !cut {
			f.Errorf("Wait: %v", err)
		}
		out, at, _, err := f.attached(in, s.ID, p.ID(), 0)
		if _, cut := errors.AsType[*agent.CutError](err); !cut || len(out) != keep || at.StdoutFrom != zeros-keep {
			f.Errorf("from the beginning on there are %d bytes from %d on, %v", len(out), at.StdoutFrom, err)
		}
		if out, at, _, err := f.attached(in, s.ID, p.ID(), -1000); err != nil || len(out) != 1000 || at.StdoutFrom != zeros-1000 {
			f.Errorf("the last 1000 bytes are %d bytes from %d on, %v", len(out), at.StdoutFrom, err)
		}
		plain := f.start(in, agent.Command{Session: s.ID, Args: cmdTrue})
		other := f.session("s2")
		f.open(in, other)
		for _, a := range []agent.Attach{{Session: s.ID, ID: "none"}, {Session: s.ID, ID: plain.ID()}, {Session: other.ID, ID: p.ID()}} {
			_, _, err := in.AttachCommand(f.ctx, a)
			f.wantErr("Attach", err, agent.ErrUnknownCommand)
		}
		_, _, err = in.AttachCommand(f.ctx, agent.Attach{Session: "never-opened", ID: p.ID()})
		f.wantErr("Attach", err, agent.ErrUnknownSession)
		forever := f.start(in, agent.Command{Session: s.ID, Args: cmdForever, Detached: true})
		for _, p := range []orchestrator.Process{p, forever} {
			for range 2 {
				if err := p.Delete(f.ctx); err != nil {
					f.Errorf("Delete: %v", err)
				}
			}
			_, _, err = in.AttachCommand(f.ctx, agent.Attach{Session: s.ID, ID: p.ID()})
			f.wantErr("Attach of what was deleted", err, agent.ErrUnknownCommand)
		}
		f.eventually("nothing runs", func() bool { return f.idle(in, s.ID) > 0 })
	},
}}
