package command_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
)

func TestCommandStreams(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := s.Command(t.Context(), "cat")
		big := strings.Repeat("0123456789abcdef", 1<<16)
		cmd.Stdin = strings.NewReader(big)
		out, err := cmd.Output()
		if err != nil || string(out) != big || cmd.ExitCode != 0 {
			t.Errorf("%d bytes of %d, %v, %d", len(out), len(big), err, cmd.ExitCode)
		}
		both, err := s.Command(t.Context(), "say", "one", "two").CombinedOutput()
		if err != nil || string(both) != "onetwo" {
			t.Errorf("%q, %v", both, err)
		}
		var stdout, stderr bytes.Buffer
		cmd = s.Command(t.Context(), "say", "one", "two")
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil || stdout.String() != "one" || stderr.String() != "two" {
			t.Errorf("%q, %q, %v", &stdout, &stderr, err)
		}
		cmd = s.Command(t.Context(), "where")
		cmd.Dir, cmd.Env = "sub", []string{"A=1", "A=2"}
		if out, err := cmd.Output(); string(out) != s.Info().Workdir+"/sub 2" {
			t.Errorf("%q, %v", out, err)
		}
	})
}

func TestCommandFailure(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := s.Command(t.Context(), "fail")
		_, err := cmd.Output()
		failure, ok := errors.AsType[*berth.ExitError](err)
		if !ok || failure.Code != 3 || cmd.ExitCode != 3 || err.Error() != "exit status 3" {
			t.Fatalf("%v, exit code %d", err, cmd.ExitCode)
		}
		if tail := string(failure.Stderr); len(tail) != 32<<10 || !strings.HasSuffix(tail, "the end") {
			t.Errorf("%d bytes of stderr", len(tail))
		}
		err = s.Command(t.Context(), "signal").Run()
		if failure, ok := errors.AsType[*berth.ExitError](err); !ok || failure.Signal != 15 || failure.Code != -1 {
			t.Errorf("%v", err)
		}
		if err := s.Command(t.Context(), "nothing").Run(); !errors.Is(err, agent.ErrNotExecutable) {
			t.Error(err)
		}
		w.Engine.Fail(fake.Start, 1, errors.New("EOF"))
		if err := s.Command(t.Context(), "true").Run(); err == nil || !strings.Contains(err.Error(), "EOF") {
			t.Error(err)
		}
	})
}

func TestCommandPipes(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := s.Command(t.Context(), "cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for range 3 { // a dialogue: output arrives as it is written
			fmt.Fprintln(in, "hello")
			line := make([]byte, 6)
			if _, err := io.ReadFull(out, line); string(line) != "hello\n" {
				t.Fatalf("%q, %v", line, err)
			}
		}
		in.Close()
		if rest, err := io.ReadAll(out); len(rest) > 0 || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func TestCommandIsUsedOnce(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := s.Command(t.Context(), "true")
		if err := cmd.Wait(); err == nil {
			t.Error("Wait before Start")
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err == nil {
			t.Error("Start twice")
		}
		if _, err := cmd.StdoutPipe(); err == nil {
			t.Error("StdoutPipe after Start")
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("Wait twice")
		}
		cmd = s.Command(t.Context(), "true")
		cmd.Stdout = io.Discard
		if _, err := cmd.Output(); err == nil {
			t.Error("Output with Stdout set")
		}
		if _, err := cmd.CombinedOutput(); err == nil {
			t.Error("CombinedOutput with Stdout set")
		}
	})
}

func TestCommandEndsWithItsContext(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cmd := s.Command(ctx, "sleep")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		cancel(why)
		if err := cmd.Wait(); !errors.Is(err, why) {
			t.Error(err)
		}
		synctest.Wait()
		if n := w.Engine.Containers()[0].Sessions[0].Processes; n != 0 {
			t.Errorf("%d processes run", n)
		}
		if err := s.Command(ctx, "true").Run(); !errors.Is(err, why) {
			t.Error(err)
		}
	})
}

func TestCommandEndsWithItsSession(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(w *world.World, s *berth.Session)
		want error
	}{
		"terminated":       {func(w *world.World, s *berth.Session) { w.Terminate(s) }, berth.ErrTerminated},
		"container killed": {func(w *world.World, s *berth.Session) { w.Engine.KillContainer(s.Info().Container.Name) }, berth.ErrContainerLost},
		"instance lost":    {func(w *world.World, s *berth.Session) { w.Cloud.Vanish(s.Info().Instance.ID) }, berth.ErrInstanceLost},
	} {
		t.Run(name, func(t *testing.T) {
			world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
				cmd := s.Command(t.Context(), "sleep")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				c.end(w, s)
				if err := cmd.Wait(); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				<-s.Done()
				if err := s.Command(t.Context(), "true").Run(); !errors.Is(err, c.want) {
					t.Errorf("a command after the end: %v, want %v", err, c.want)
				}
			})
		})
	}
}

// TestCommandSurvivesClose: the command goes on in the container. Wait returns ErrClosed.
func TestCommandSurvivesClose(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := s.Command(t.Context(), "sleep")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if err := cmd.Wait(); !errors.Is(err, berth.ErrClosed) {
			t.Errorf("Wait: %v", err)
		}
		if n := w.Engine.Containers()[0].Sessions[0].Processes; n != 1 {
			t.Errorf("%d processes run", n)
		}
		if err := s.Command(t.Context(), "true").Run(); !errors.Is(err, berth.ErrClosed) {
			t.Error(err)
		}
	})
}
