package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/berth-go/berth"
)

// startScript runs the agent, which its arguments name behind the first one, on $PROMPT. Several processes may start it for one task at
// once, and a process may die at any moment, so the session itself decides which command is the agent: the one whose name, the first
// argument, stands in the file run. link(2) lets one of them win. The others end with 75.
//
// The agent reads its input from a named pipe that it holds open for writing too: so its input never ends, and any process can write to it.
const startScript = `dir=.git/agenthost
mkdir -p "$dir" && echo "$1" >"$dir/$1" || exit 1
[ -e "$dir/base" ] || git rev-parse HEAD >"$dir/base" 2>/dev/null
mkfifo "$dir/input" 2>/dev/null
ln "$dir/$1" "$dir/run" 2>/dev/null || exit 75
shift
exec "$@" "$PROMPT" <>"$dir/input" 2>&1`

// inputScript gives its standard input to the agent. It ends when the agent's pipe has taken all of it.
const inputScript = `exec cat 1<>.git/agenthost/input`

// runFile has the name of the command that is the agent.
const runFile = ".git/agenthost/run"

// lookInterval is the time between two looks for an agent that is being started, which takes milliseconds.
const lookInterval = 20 * time.Millisecond

// begin starts the agent of a task, unless it was started before, and returns it.
func (a *app) begin(ctx context.Context, s *berth.Session, prompt string) (berth.CommandInfo, error) {
	if run, err := a.run(ctx, s); !errors.Is(err, errNoAgent) {
		return run, err
	}
	cmd := s.Command(ctx, "sh", append([]string{"-c", startScript, "sh", rand.Text()}, a.agent...)...)
	cmd.Env = []string{"PROMPT=" + prompt}
	cmd.Detached = true // neither the end of the request nor that of this process ends it
	if err := cmd.Start(); err != nil {
		return berth.CommandInfo{}, err
	}
	go cmd.Wait() // returns when the agent has ended, or when the Provider is closed
	run, err := a.run(ctx, s)
	if err == nil && run.ID != cmd.ID() {
		err = cmd.Delete() // another one was faster
	}
	return run, err
}

// run returns the agent of a task. While one is being started, it waits for it. errNoAgent: nothing has started one.
func (a *app) run(ctx context.Context, s *berth.Session) (berth.CommandInfo, error) {
	for {
		name, err := s.FS(ctx).ReadFile(runFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return berth.CommandInfo{}, err
		}
		starting := false
		for c, err := range s.Commands(ctx) {
			if err != nil {
				return berth.CommandInfo{}, err
			}
			if !c.Detached || len(c.Args) < 5 || c.Args[2] != startScript {
				continue
			}
			if c.Args[4] == strings.TrimSpace(string(name)) {
				return c, nil
			}
			starting = starting || c.EndedAt.IsZero()
		}
		if !starting || len(name) > 0 {
			return berth.CommandInfo{}, errNoAgent
		}
		select {
		case <-time.After(lookInterval):
		case <-ctx.Done():
			return berth.CommandInfo{}, context.Cause(ctx)
		}
	}
}

func stateOf(c berth.CommandInfo) *agentState {
	s := &agentState{State: "running", Started: c.StartedAt, Ended: c.EndedAt, ExitCode: c.ExitCode, Bytes: c.Stdout}
	if !c.EndedAt.IsZero() {
		s.State = "ended"
	}
	return s
}

// input gives the body to the agent. It answers when the agent's pipe has taken all of it.
func (a *app) input(r *http.Request) (any, error) {
	s, err := a.find(r)
	if err != nil {
		return nil, err
	}
	run, err := a.run(r.Context(), s)
	if err == nil && !run.EndedAt.IsZero() {
		err = errNotRunning
	}
	if err != nil {
		return nil, err
	}
	cmd := s.Command(r.Context(), "sh", "-c", inputScript)
	cmd.Stdin = r.Body
	return nil, cmd.Run()
}

// exitOf returns the exit code that Wait's error tells. ok is false if the exit is not known.
func exitOf(err error) (code int, ok bool) {
	if err == nil {
		return 0, true
	}
	if errors.Is(err, berth.ErrOutputCut) {
		return 0, false
	}
	exit, ok := errors.AsType[*berth.ExitError](err)
	if !ok {
		return 0, false
	}
	return exit.Code, true
}
