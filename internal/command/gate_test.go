package command_test

import (
	"errors"
	"io"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
)

var errFull = errors.New("no space left")

// full is a Writer and a Reader that fails.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func (full) Read([]byte) (int, error) { return 0, errFull }

// TestExitComesBeforeStreams: as in os/exec, the error of a stream does not hide an exit code other than 0.
func TestExitComesBeforeStreams(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		held, input := io.Pipe() // like a stream that a child of the program holds open
		defer input.Close()
		for name, c := range map[string]struct {
			args   []string
			adjust func(cmd *berth.Cmd)
			code   int
			err    error // if code is 0
		}{
			"fails, held": {[]string{"fail"}, func(cmd *berth.Cmd) { cmd.Stdin, cmd.WaitDelay = held, 10*time.Second }, 3, nil},
			"held":        {[]string{"true"}, func(cmd *berth.Cmd) { cmd.Stdin, cmd.WaitDelay = held, 10*time.Second }, 0, exec.ErrWaitDelay},
			"fails, full": {[]string{"fail"}, func(cmd *berth.Cmd) { cmd.Stderr = full{} }, 3, nil},
			"full":        {[]string{"say", "one", "two"}, func(cmd *berth.Cmd) { cmd.Stdout = full{} }, 0, errFull},
			"no input":    {[]string{"cat"}, func(cmd *berth.Cmd) { cmd.Stdin = full{} }, 1, nil},
		} {
			cmd := s.Command(t.Context(), c.args[0], c.args[1:]...)
			c.adjust(cmd)
			err := cmd.Run()
			// The error of a Writer is reported also beside an exit code, since the output is not whole.
			if cut := cmd.Stdout == io.Writer(full{}) || cmd.Stderr == io.Writer(full{}); errors.Is(err, berth.ErrOutputCut) != cut || cut && !errors.Is(err, errFull) {
				t.Errorf("%s: ErrOutputCut is wrong: %v", name, err)
			}
			if c.code != 0 {
				world.WantExit(t, cmd, err, c.code, 0)
			} else if !errors.Is(err, c.err) || cmd.ExitCode != 0 {
				t.Errorf("%s: %v, exit code %d; want %v and 0", name, err, cmd.ExitCode, c.err)
			}
		}
	})
}

func TestClosingAPipeEarlyIsNoFailure(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		say := func(adjust func(cmd *berth.Cmd)) error {
			t.Helper()
			cmd := s.Command(t.Context(), "say", "one", "two")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			adjust(cmd)
			world.Start(t, cmd)
			out.Close()
			return cmd.Wait()
		}
		if err := say(func(*berth.Cmd) {}); err != nil {
			t.Errorf("Wait: %v", err)
		}
		if err := say(func(cmd *berth.Cmd) { cmd.Stderr = cmd.Stdout }); err != nil {
			t.Errorf("Wait, for both streams: %v", err)
		}
		if err := say(func(cmd *berth.Cmd) { cmd.Stderr = full{} }); !errors.Is(err, errFull) {
			t.Errorf("Wait, beside a Writer that fails: %v", err)
		}
		// The caller's own pipe is a Writer like any other, as in os/exec.
		r, own := io.Pipe()
		r.Close()
		cmd := s.Command(t.Context(), "say", "one", "two")
		cmd.Stdout = own
		if err := cmd.Run(); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Run with a closed pipe: %v", err)
		}
	})
}

// TestPipeOfALostCommand: the reader must not mistake the output so far for the whole.
func TestPipeOfALostCommand(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(w *world.World, s *berth.Session)
		want error
	}{
		"container killed": {func(w *world.World, s *berth.Session) { w.Engine.KillContainer(s.Info().Container.Name) }, berth.ErrContainerLost},
		"instance lost":    {func(w *world.World, s *berth.Session) { w.Cloud.Vanish(s.Info().Instance.ID) }, berth.ErrInstanceLost},
		"Provider closed":  {func(w *world.World, s *berth.Session) { w.Close() }, berth.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
				cmd := s.Command(t.Context(), "sleep")
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				world.Start(t, cmd)
				synctest.Wait()
				c.end(w, s)
				if _, err := io.ReadAll(out); !errors.Is(err, c.want) {
					t.Errorf("the pipe ends with %v, want %v", err, c.want)
				}
				if err := cmd.Wait(); !errors.Is(err, c.want) {
					t.Errorf("Wait: %v, want %v", err, c.want)
				}
			})
		})
	}
}

// TestPipeThatIsWhole: the pipe ends with io.EOF, even if other streams of the command fail.
func TestPipeThatIsWhole(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := s.Command(t.Context(), "say", "one", "two")
		cmd.Stderr = full{}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		world.Start(t, cmd)
		if all, err := io.ReadAll(out); string(all) != "one" || err != nil {
			t.Errorf("the pipe gave %q, %v", all, err)
		}
		if err := cmd.Wait(); !errors.Is(err, errFull) {
			t.Errorf("Wait: %v", err)
		}
	})
}

// TestPipeOfAStartThatFails: the pipe gives an error and not io.EOF, as in os/exec.
func TestPipeOfAStartThatFails(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := s.Command(t.Context(), "nothing")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		failure := cmd.Start()
		if _, err := io.ReadAll(out); failure == nil || !errors.Is(err, failure) {
			t.Errorf("Start: %v; the pipe gives %v", failure, err)
		}
	})
}
