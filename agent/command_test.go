package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

func TestArgumentsAndEnvironmentMayBeAnyBytes(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	var out bytes.Buffer
	p, err := r.Start(testContext(t), agent.Command{
		Session: "s", Args: []string{"sh", "-c", `printf %s "$1"; printf %s "$V"`, "sh", "a\xff\n\"b"},
		Env: []string{"V=first", "V=\xfe second"}, Stdout: &out,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); err != nil || out.String() != "a\xff\n\"b\xfe second" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestWaitReportsHowAProgramEnded(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	for script, want := range map[string]agent.Exit{
		"exit 0": {}, "exit 7": {Code: 7}, "exit 255": {Code: 255},
		"kill -TERM $$": {Code: -1, Signal: 15}, "kill -KILL $$": {Code: -1, Signal: 9},
	} {
		if _, exit := r.run(t, "s", script); exit != want {
			t.Errorf("%s: %+v, want %+v", script, exit, want)
		}
	}
}

func TestStartSaysWhatCannotBeStarted(t *testing.T) {
	r := startIn(t, `mkdir -p private/bin; printf '#!/bin/sh\n' >private/bin/privatetool; chmod 755 private/bin private/bin/privatetool; chmod 700 private; export PATH=$PWD/private/bin:$PATH`)
	co := r.session(t, "s", 10001)
	r.run(t, "s", "echo x >plain; printf '#!/no/such\n' >bad; chmod +x bad; mkdir sub")
	for _, c := range []struct {
		args []string
		dir  string
		says string
	}{
		{[]string{"no-such-program"}, "", "executable file not found in $PATH"},
		{[]string{"./plain"}, "", "permission denied: " + co.Workdir + "/plain is not marked as executable"},
		{[]string{"./bad"}, "", "no such file or directory: it is run by /no/such, which is not there"},
		{[]string{"privatetool"}, "", "permission denied: " + r.agent.Dir + "/private/bin/privatetool lies below " + r.agent.Dir + "/private, which only root may enter"},
		{[]string{"./none"}, "", "no such file"},
		{[]string{"true"}, "none", "chdir"},
		{[]string{"true"}, "plain", "not a directory"},
		{nil, "", "no program"},
		{[]string{""}, "", "no program"},
	} {
		_, err := r.Start(testContext(t), agent.Command{Session: "s", Args: c.args, Dir: c.dir})
		if !errors.Is(err, agent.ErrNotExecutable) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%q in %q: %v", c.args, c.dir, err)
		}
	}
	var out bytes.Buffer
	p, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"pwd"}, Dir: "sub", Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if p.Wait(); out.String() != co.Workdir+"/sub\n" {
		t.Errorf("pwd in sub: %q", out.String())
	}
}

func TestManyShortCommandsAtOnce(t *testing.T) {
	n := soaking(1000, 10000)
	if agenttest.Rooms(t) {
		n /= 4 // each is a message to the room's init
	}
	r := start(t)
	r.session(t, "s", 10001)
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			var out bytes.Buffer
			p, err := r.Start(ctx, agent.Command{Session: "s", Args: []string{"echo", fmt.Sprint(i)}, Stdout: &out})
			if err != nil {
				t.Error(err)
				return
			}
			exit, err := p.Wait()
			if err != nil || exit.Code != 0 || out.String() != fmt.Sprintln(i) {
				t.Errorf("%d: %q, %+v, %v", i, out.String(), exit, err)
			}
		})
	}
	all.Wait()
	t.Logf("%d commands in %v", n, time.Since(begun))
}
