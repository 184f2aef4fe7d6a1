package command_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
)

func TestSignal(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		for name, c := range map[string]struct {
			program string
			send    func(cmd *berth.Cmd) error
			code    int
			signal  int
		}{
			"caught":     {"trap", func(cmd *berth.Cmd) error { return cmd.Signal(os.Interrupt) }, 2, 0},
			"group":      {"trap", func(cmd *berth.Cmd) error { return cmd.SignalGroup(syscall.SIGTERM) }, 15, 0},
			"not caught": {"sleep", func(cmd *berth.Cmd) error { return cmd.Signal(syscall.SIGTERM) }, -1, 15},
			"kill":       {"trap", func(cmd *berth.Cmd) error { return cmd.Signal(os.Kill) }, -1, 9},
		} {
			cmd := s.Command(t.Context(), c.program)
			if err := cmd.Signal(os.Interrupt); err == nil || errors.Is(err, os.ErrProcessDone) {
				t.Errorf("%s: a signal before the start: %v", name, err)
			}
			world.Start(t, cmd)
			synctest.Wait()
			if err := c.send(cmd); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			world.WantExit(t, cmd, cmd.Wait(), c.code, c.signal)
			if err := c.send(cmd); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("%s: a signal after the end: %v", name, err)
			}
		}
	})
}

// TestSignalThatCannotBeSent: the error says why.
func TestSignalThatCannotBeSent(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cmd := s.Command(ctx, "sleep")
		world.Start(t, cmd)
		w.Engine.HangHost(s.Info().Instance.ID)
		if err := cmd.Signal(os.Interrupt); !errors.Is(err, berth.ErrUnavailable) {
			t.Errorf("the host cannot be reached: %v", err)
		}
		w.Engine.Heal()
		gone := errors.New("gone")
		cancel(gone)
		if err := cmd.Signal(os.Interrupt); !errors.Is(err, gone) && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("the context has ended: %v", err)
		}
		cmd.Wait()
		cmd = s.Command(t.Context(), "sleep")
		world.Start(t, cmd)
		w.Close()
		if err := cmd.Signal(os.Interrupt); !errors.Is(err, berth.ErrClosed) {
			t.Errorf("the Provider is closed: %v", err)
		}
		cmd.Wait()
	})
}

func TestTerminal(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := s.Command(ctx, "window")
		cmd.TTY = &berth.TTYSize{Rows: 24, Cols: 80}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		world.Start(t, cmd)
		shown := bufio.NewReader(out)
		line := func(want string) {
			t.Helper()
			if got, err := shown.ReadString('\n'); got != want+"\n" {
				t.Errorf("%q, %v; want %s", got, err, want)
			}
		}
		line("80x24")
		if err := cmd.Resize(berth.TTYSize{Rows: 50, Cols: 132}); err != nil {
			t.Error(err)
		}
		line("132x50")
		cancel()
		cmd.Wait()
		if err := cmd.Resize(berth.TTYSize{}); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("Resize after the end: %v", err)
		}

		cmd = s.Command(t.Context(), "say", "one", "two")
		cmd.TTY = new(berth.TTYSize)
		if out, err := cmd.Output(); err != nil || string(out) != "onetwo" {
			t.Errorf("both outputs: %q, %v", out, err)
		}
		cmd = s.Command(t.Context(), "sleep")
		world.Start(t, cmd)
		if err := cmd.Resize(berth.TTYSize{}); err == nil {
			t.Error("a command without a terminal was resized")
		}
	})
}
