package berth_test

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
)

// shell is what commands do in these tests.
func shell(ctx context.Context, c fake.Command) int {
	switch c.Args[0] {
	case "cat":
		if _, err := io.Copy(c.Stdout, c.Stdin); err != nil {
			return 1
		}
	case "say": // the first argument to stdout, the second to stderr
		fmt.Fprint(c.Stdout, c.Args[1])
		fmt.Fprint(c.Stderr, c.Args[2])
	case "fail":
		fmt.Fprint(c.Stderr, strings.Repeat("x", 40<<10)+"the end")
		return 3
	case "signal":
		return -15
	case "where":
		fmt.Fprint(c.Stdout, c.Dir, " ", c.Env["A"])
	case "sleep":
		<-ctx.Done()
	case "yes":
		for {
			if _, err := io.WriteString(c.Stdout, "y\n"); err != nil {
				return 1
			}
		}
	case "drip":
		return drip(c)
	}
	return 0
}

func inShell(t *testing.T, test func(t *testing.T, w *world, s *berth.Session)) {
	t.Helper()
	engine := fake.EngineOptions{Run: shell, Commands: []string{"cat", "say", "fail", "signal", "where", "sleep", "true", "yes", "drip"}}
	inWorld(t, setup{Engine: engine}, func(t *testing.T, w *world) { test(t, w, w.create("t", repoA)) })
}

func TestCommandStreams(t *testing.T) {
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
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
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
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
		w.engine.Fail(fake.Start, 1, errors.New("EOF"))
		if err := s.Command(t.Context(), "true").Run(); err == nil || !strings.Contains(err.Error(), "EOF") {
			t.Error(err)
		}
	})
}

func TestCommandPipes(t *testing.T) {
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
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
		for range 3 { // a dialogue: nothing is held back
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
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
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
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
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
		if n := w.engine.Containers()[0].Sessions[0].Processes; n != 0 {
			t.Errorf("%d processes run", n)
		}
		if err := s.Command(ctx, "true").Run(); !errors.Is(err, why) {
			t.Error(err)
		}
	})
}

func TestCommandEndsWithItsSession(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(w *world, s *berth.Session)
		want error
	}{
		"terminated":       {func(w *world, s *berth.Session) { w.terminate(s) }, berth.ErrTerminated},
		"container killed": {func(w *world, s *berth.Session) { w.engine.KillContainer(s.Info().Container.Name) }, berth.ErrContainerLost},
		"instance lost":    {func(w *world, s *berth.Session) { w.cloud.Vanish(s.Info().Instance.ID) }, berth.ErrInstanceLost},
	} {
		t.Run(name, func(t *testing.T) {
			inShell(t, func(t *testing.T, w *world, s *berth.Session) {
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

// TestCommandSurvivesClose: it goes on in the container, and Wait says that nobody watches it any more.
func TestCommandSurvivesClose(t *testing.T) {
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
		cmd := s.Command(t.Context(), "sleep")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if err := cmd.Wait(); !errors.Is(err, berth.ErrClosed) {
			t.Errorf("Wait: %v", err)
		}
		if n := w.engine.Containers()[0].Sessions[0].Processes; n != 1 {
			t.Errorf("%d processes run", n)
		}
		if err := s.Command(t.Context(), "true").Run(); !errors.Is(err, berth.ErrClosed) {
			t.Error(err)
		}
	})
}
