package enginetest

import (
	"bufio"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// usr1 is SIGUSR1 of Linux, for which not every system has a name.
const usr1 = syscall.Signal(10)

// said starts a command, and returns when it has written a line; "" = any.
func (f *fixture) said(in orchestrator.Inside, c agent.Command, want string) (p orchestrator.Process, rest *bufio.Reader) {
	f.Helper()
	r, w := pipe()
	c.Stdout = w
	p = f.start(in, c)
	rest = bufio.NewReader(r)
	if line, err := rest.ReadString('\n'); err != nil || want != "" && line != want {
		f.Fatalf("%q says %q, %v; want %q", c.Args, line, err, want)
	}
	return p, rest
}

var signalCases = []testCase{{
	rule: "a signal reaches the program, and a signal to its group what it has started",
	test: func(f *fixture) {
		_, in, s := f.opened()
		for _, c := range []struct {
			args  []string
			sig   syscall.Signal
			group bool
			want  agent.Exit
		}{
			{cmdTrap, usr1, false, agent.Exit{Code: 7}},
			{cmdTrapTree, usr1, true, agent.Exit{Code: 7}},
			{cmdForever, syscall.SIGTERM, false, agent.Exit{Code: -1, Signal: 15}},
			{cmdForever, syscall.SIGKILL, true, agent.Exit{Code: -1, Signal: 9}},
		} {
			command := agent.Command{Session: s.ID, Args: c.args}
			var p orchestrator.Process
			if c.want.Code == 7 {
				p, _ = f.said(in, command, "ready\n")
			} else {
				p = f.start(in, command)
			}
			if err := p.Signal(f.ctx, 0, false); err != nil {
				f.Errorf("%q: signal 0: %v", c.args, err)
			}
			if err := p.Signal(f.ctx, c.sig, c.group); err != nil {
				f.Errorf("%q: %v", c.args, err)
			}
			// A shell that is about to wait, or a child that has not executed its program yet, may miss one.
			f.eventually("it has ended", func() bool { return errors.Is(p.Signal(f.ctx, c.sig, c.group), os.ErrProcessDone) })
			if exit, err := f.wait(p); err != nil || exit != c.want {
				f.Errorf("%q ended with %+v, %v; want %+v", c.args, exit, err, c.want)
			}
			f.wantErr("a signal after the end", p.Signal(f.ctx, c.sig, c.group), os.ErrProcessDone)
		}
	},
}, {
	rule: "a command has a terminal, whose size can be changed",
	test: func(f *fixture) {
		_, in, s := f.opened()
		r, w := pipe()
		p, shown := f.said(in, agent.Command{Session: s.ID, Args: cmdTerminal, Stdin: r, Terminal: &agent.Size{Rows: 24, Cols: 80}}, "24 80\r\n")
		if err := p.Resize(f.ctx, agent.Size{Rows: 50, Cols: 132}); err != nil {
			f.Fatalf("Resize: %v", err)
		}
		f.write(w, "hello\n")
		for _, want := range []string{"hello\r\n", "got hello\r\n", "50 132\r\n"} {
			if line, err := shown.ReadString('\n'); err != nil || line != want {
				f.Fatalf("the terminal shows %q, %v; want %q", line, err, want)
			}
		}
		w.Close()
		if exit, err := f.wait(p); err != nil || exit.Code != 5 {
			f.Errorf("it ended with %+v, %v", exit, err)
		}
		f.wantErr("Resize after the end", p.Resize(f.ctx, agent.Size{}), os.ErrProcessDone)
		plain := f.start(in, agent.Command{Session: s.ID, Args: cmdForever})
		if err := plain.Resize(f.ctx, agent.Size{}); err == nil {
			f.Error("a command without a terminal has a size")
		}
		_, err := in.Start(f.ctx, agent.Command{Session: s.ID, Args: cmdTrue, Terminal: &agent.Size{}, Stdout: io.Discard, Stderr: new(buffer)})
		if err == nil {
			f.Error("a terminal has two outputs")
		}
	},
}}
