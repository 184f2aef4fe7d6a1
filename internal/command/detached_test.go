package command_test

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/world"
)

// detached starts a detached command.
func detached(t *testing.T, ctx context.Context, s *berth.Session, name string, args ...string) *berth.Cmd {
	t.Helper()
	cmd := s.Command(ctx, name, args...)
	cmd.Detached = true
	world.Start(t, cmd)
	synctest.Wait()
	return cmd
}

func attach(t *testing.T, ctx context.Context, s *berth.Session, id string) *berth.Cmd {
	t.Helper()
	cmd, err := s.Attach(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestDetachedCommandOutlivesItsProcess: neither the end of its context nor that of its Provider ends it, and another process has it again.
func TestDetachedCommandOutlivesItsProcess(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		later := w.NewProvider()
		same, err := later.GetSession(t.Context(), s.ID())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cmd, said := detached(t, ctx, s, "trap"), detached(t, ctx, s, "say", "one", "two")
		cancel()
		synctest.Wait()
		w.Close()
		if err := cmd.Wait(); !errors.Is(err, berth.ErrClosed) {
			t.Errorf("Wait when the Provider is closed: %v", err)
		}
		if err := said.Wait(); err != nil {
			t.Errorf("Wait for what had ended before: %v", err)
		}

		again := attach(t, t.Context(), same, cmd.ID())
		if again.String() != "trap" {
			t.Errorf("it is %v", again)
		}
		world.Start(t, again)
		synctest.Wait()
		if err := again.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		world.WantExit(t, again, again.Wait(), 15, 0)

		for range 2 {
			out, err := attach(t, t.Context(), same, said.ID()).Output()
			if err != nil || string(out) != "one" {
				t.Errorf("%q, %v", out, err)
			}
		}
		part := attach(t, t.Context(), same, said.ID())
		part.StdoutFrom = -2
		if out, err := part.Output(); err != nil || string(out) != "ne" || part.StdoutFrom != 1 {
			t.Errorf("%q from %d on, %v", out, part.StdoutFrom, err)
		}
		if err := part.Delete(); err != nil {
			t.Error(err)
		}
		if _, err := same.Attach(t.Context(), said.ID()); err == nil {
			cmd := attach(t, t.Context(), same, said.ID())
			if err := cmd.Run(); !errors.Is(err, agent.ErrUnknownCommand) {
				t.Errorf("a deleted command: %v", err)
			}
		}
		if _, err := same.Attach(t.Context(), "nothing"); !errors.Is(err, agent.ErrUnknownCommand) {
			t.Errorf("an unknown command: %v", err)
		}
	})
}

// TestEndOfAnAttachedContext ends the copying, and not the command.
func TestEndOfAnAttachedContext(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := detached(t, t.Context(), s, "sleep")
		why := errors.New("seen enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		again := attach(t, ctx, s, cmd.ID())
		out, err := again.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		world.Start(t, again)
		synctest.Wait()
		cancel(why)
		if _, err := out.Read(make([]byte, 1)); !errors.Is(err, why) {
			t.Errorf("Read: %v", err)
		}
		if err := again.Wait(); !errors.Is(err, why) {
			t.Errorf("Wait: %v", err)
		}
		for c, err := range s.Commands(t.Context()) {
			if err != nil || !c.EndedAt.IsZero() {
				t.Errorf("%+v, %v", c, err)
			}
		}
		if err := cmd.Kill(); err != nil {
			t.Error(err)
		}
		world.WantExit(t, cmd, cmd.Wait(), -1, 9)
	})
}

// TestEndOfAnAttachedInput: one that lets go of a command does not end its input, and one whose place is taken hears of it.
func TestEndOfAnAttachedInput(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := s.Command(t.Context(), "cat")
		cmd.Detached = true
		if _, err := cmd.StdinPipe(); err != nil { // a command without an input never takes one
			t.Fatal(err)
		}
		world.Start(t, cmd)
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			again := attach(t, ctx, s, cmd.ID())
			if _, err := again.StdinPipe(); err != nil {
				t.Fatal(err)
			}
			world.Start(t, again)
			cancel()
			if err := again.Wait(); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		var typed [2]io.WriteCloser
		for i := range typed {
			again := attach(t, t.Context(), s, cmd.ID())
			var err error
			if typed[i], err = again.StdinPipe(); err != nil {
				t.Fatal(err)
			}
			world.Start(t, again)
			if _, err := typed[i].Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for _, want := range []error{nil, io.ErrClosedPipe} { // the first Write is read, and refused
			if _, err := typed[0].Write([]byte("lost")); err != want && want != nil {
				t.Errorf("Write behind another Attach: %v, want %v", err, want)
			}
			synctest.Wait()
		}
		typed[1].Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if out, err := attach(t, t.Context(), s, cmd.ID()).Output(); err != nil || string(out) != "xx" {
			t.Errorf("%q, %v", out, err)
		}
	})
}
