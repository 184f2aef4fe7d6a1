package berth_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os/exec"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/gittest"
)

// TestLocalCommandsEndAsInOSExec: what the commands' tests say of the fakes holds for real programs.
func TestLocalCommandsEndAsInOSExec(t *testing.T) {
	l := newLocal(t, berth.Config{})
	remote := l.git.Create("org/r", gittest.Small())
	s := l.create("t", remote.URL(), "")
	script := func(ctx context.Context, text string) *berth.Cmd { return s.Command(ctx, "sh", "-c", text) }

	t.Run("a child holds stdout", func(t *testing.T) {
		for code, end := range map[int]string{1: "exit 1", 0: "exit 0"} {
			cmd := script(t.Context(), "sleep 1000 & "+end)
			cmd.Stdout, cmd.WaitDelay = io.Discard, 200*time.Millisecond
			err := cmd.Run()
			if code != 0 {
				wantExit(t, cmd, err, code, 0)
			} else if !errors.Is(err, exec.ErrWaitDelay) || cmd.ExitCode != 0 {
				t.Errorf("Run: %v, exit code %d", err, cmd.ExitCode)
			}
		}
	})
	t.Run("the context ends while a child holds stdout", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := script(ctx, "sleep 1000 & exit 3")
		cmd.Stdout = io.Discard
		start(t, cmd)
		time.AfterFunc(time.Second, cancel)
		wantExit(t, cmd, cmd.Wait(), 3, 0)
	})
	t.Run("a pipe is closed early", func(t *testing.T) {
		for code, end := range map[int]string{0: "exit 0", 4: "exit 4"} {
			cmd := script(t.Context(), "trap '' PIPE; echo first; read line; i=0; while [ $i -lt 9 ] && echo more; do i=$((i+1)); sleep .1; done 2>/dev/null; "+end)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			start(t, cmd)
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "first\n" {
				t.Fatalf("%q, %v", line, err)
			}
			out.Close()
			io.WriteString(in, "\n")
			if err := cmd.Wait(); code != 0 {
				wantExit(t, cmd, err, code, 0)
			} else if err != nil || cmd.ExitCode != 0 {
				t.Errorf("Wait: %v, exit code %d", err, cmd.ExitCode)
			}
		}
	})
	t.Run("the container is killed", func(t *testing.T) {
		cmd := script(t.Context(), "echo first; sleep 1000")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		start(t, cmd)
		lines := bufio.NewReader(out)
		if line, err := lines.ReadString('\n'); line != "first\n" {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := l.docker.ContainerKill(t.Context(), s.Info().Container.ID, client.ContainerKillOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(lines); !errors.Is(err, berth.ErrContainerLost) {
			t.Errorf("the pipe ends with %v", err)
		}
		if err := cmd.Wait(); !errors.Is(err, berth.ErrContainerLost) {
			t.Errorf("Wait: %v", err)
		}
	})
}
