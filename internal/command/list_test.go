package command_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
)

// list returns the commands of a session.
func list(t *testing.T, s *berth.Session) (all []berth.CommandInfo) {
	t.Helper()
	for c, err := range s.Commands(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// TestCommandsAreListed: those that run and those that have ended, by each process of the pool.
func TestCommandsAreListed(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		sleep := s.Command(t.Context(), "sleep", "--token=secret")
		if sleep.ID() != "" {
			t.Errorf("a command that was not started is %s", sleep.ID())
		}
		world.Start(t, sleep)
		if _, err := s.Command(t.Context(), "say", "one", "three").Output(); err != nil {
			t.Fatal(err)
		}
		_ = s.Command(t.Context(), "signal").Run()
		if err := s.Command(t.Context(), "nothing").Run(); err == nil {
			t.Fatal("a program that is not there has run")
		}
		for _, p := range []*berth.Provider{w.Provider, w.NewProvider()} {
			all := list(t, world.Get(t, p, s.ID()))
			if len(all) != 3 {
				t.Fatalf("%d commands", len(all))
			}
			for i, want := range []berth.CommandInfo{
				{Args: []string{"sleep", "--token=secret"}, ExitCode: -1}, {Args: []string{"say", "one", "three"}, Stdout: 3, Stderr: 0},
				{Args: []string{"signal"}, ExitCode: -1, Signal: 15},
			} {
				c := all[i]
				if !slices.Equal(c.Args, want.Args) || c.ExitCode != want.ExitCode || c.Signal != want.Signal || c.Stdout != want.Stdout {
					t.Errorf("%+q, exit code %d, signal %d, %d bytes; want %+q, %d, %d, %d", c.Args, c.ExitCode, c.Signal, c.Stdout,
						want.Args, want.ExitCode, want.Signal, want.Stdout)
				}
				if c.EndedAt.IsZero() != (i == 0) || c.StartedAt.After(time.Now()) || c.Pid == 0 {
					t.Errorf("%q: process %d, from %v to %v", c.Args, c.Pid, c.StartedAt, c.EndedAt)
				}
			}
			if all[0].ID != sleep.ID() {
				t.Errorf("the command %s is listed as %s", sleep.ID(), all[0].ID)
			}
			var log strings.Builder
			slog.New(slog.NewTextHandler(&log, nil)).Info("listed", "command", all[0])
			if text := log.String() + fmt.Sprintf("%v %+v %#v", all[0], all[0], all[0]); strings.Contains(text, "secret") {
				t.Errorf("what is printed has the arguments: %s", text)
			}
		}
		if strings.Contains(w.LogText(), "secret") {
			t.Errorf("the log has the arguments: %s", w.LogText())
		}
		for range s.Commands(t.Context()) {
			break // at the first
		}
	})
}

// TestManyCommandsAreListed: more than one answer of the agent has.
func TestManyCommandsAreListed(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		for range agent.CommandPage + 10 {
			world.Start(t, s.Command(t.Context(), "sleep"))
		}
		for range agent.MostEnded + 10 {
			if err := s.Command(t.Context(), "true").Run(); err != nil {
				t.Fatal(err)
			}
		}
		all := list(t, s)
		if len(all) != agent.CommandPage+10+agent.MostEnded || !slices.IsSortedFunc(all, func(a, b berth.CommandInfo) int { return a.StartedAt.Compare(b.StartedAt) }) {
			t.Errorf("%d commands, or not in the order of their starts", len(all))
		}
	})
}

// TestListingFails: with an error of the API, and in bounded time.
func TestListingFails(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		fails := func(what string, ctx context.Context, want error) {
			t.Helper()
			n := 0
			for c, err := range s.Commands(ctx) {
				if n++; c.ID != "" || !errors.Is(err, want) {
					t.Errorf("%s: %v, %v; want %v", what, c, err, want)
				}
			}
			if n != 1 {
				t.Errorf("%s: %d values", what, n)
			}
		}
		w.Engine.Hang(fake.Commands)
		begun := time.Now()
		fails("the agent does not answer", t.Context(), berth.ErrUnavailable)
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(enough) })
		fails("the caller gives up", ctx, enough)
		w.Engine.Heal()
		w.Engine.Fail(fake.Commands, 1, errors.ErrUnsupported)
		fails("the agent is of an older version", t.Context(), errors.ErrUnsupported)
		w.Terminate(s)
		fails("the session has ended", t.Context(), berth.ErrTerminated)
		w.Close()
		fails("the Provider is closed", t.Context(), berth.ErrClosed)
	})
}
