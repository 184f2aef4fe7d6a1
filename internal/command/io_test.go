package command_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
)

// took returns a function that fails the test unless it is called between least and most from now.
func took(t *testing.T) func(what string, least, most time.Duration) {
	begun := time.Now()
	return func(what string, least, most time.Duration) {
		t.Helper()
		if d := time.Since(begun); d < least || d > most {
			t.Errorf("%s took %v; want %v to %v", what, d, least, most)
		}
	}
}

func TestWaitEndsAnOpenStdinPipe(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := s.Command(t.Context(), "true")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		world.Start(t, cmd)
		took := took(t)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		took("Wait", 0, time.Second)
		if _, err := io.WriteString(in, "x"); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("writing after the end: %v", err)
		}
	})
}

// TestWaitKeepsToABlockingReader: as in os/exec, Wait waits for a Reader, but no longer than WaitDelay.
func TestWaitKeepsToABlockingReader(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		r, blocked := io.Pipe()
		cmd := s.Command(t.Context(), "true")
		cmd.Stdin = r
		world.Start(t, cmd)
		time.AfterFunc(time.Hour, func() { blocked.Close() })
		waiting := took(t)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		waiting("Wait", 59*time.Minute, time.Hour)

		r, blocked = io.Pipe()
		defer blocked.Close()
		cmd = s.Command(t.Context(), "true")
		cmd.Stdin, cmd.WaitDelay = r, time.Minute
		world.Start(t, cmd)
		waiting = took(t)
		if err := cmd.Wait(); !errors.Is(err, exec.ErrWaitDelay) {
			t.Error(err)
		}
		waiting("Wait with WaitDelay", time.Minute, 61*time.Second)
	})
}

func TestCancelEndsAPipeThatNobodyReads(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := s.Command(ctx, "yes")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		world.Start(t, cmd)
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "y\n" {
			t.Fatalf("%q, %v", line, err)
		}
		time.Sleep(time.Minute)
		took := took(t)
		cancel()
		if err := cmd.Wait(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		took("Wait", 0, 2*time.Second)
		if _, err := io.Copy(io.Discard, out); !errors.Is(err, context.Canceled) {
			t.Errorf("the pipe gives %v", err)
		}
	})
}

// TestCancelLeavesWhatWasWritten: a pipe whose output is all read ends with io.EOF, and not with the context's error.
func TestCancelLeavesWhatWasWritten(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := s.Command(ctx, "yes")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		world.Start(t, cmd)
		synctest.Wait()
		cancel()
		time.Sleep(drainSoon)
		if all, err := io.ReadAll(out); err != nil || !bytes.HasPrefix(all, []byte("y\n")) {
			t.Errorf("%d bytes, %v", len(all), err)
		}
		if err := cmd.Wait(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// drainSoon is less than the time for which the pipes of a killed command can still be read.
const drainSoon = 500 * time.Millisecond

// stuckWriter blocks until it is freed.
type stuckWriter struct{ free chan struct{} }

func (w stuckWriter) Write(b []byte) (int, error) { <-w.free; return len(b), nil }

func TestCancelBoundsAWriterThatBlocks(t *testing.T) {
	for _, c := range []struct{ delay, least, most time.Duration }{
		{0, 5 * time.Second, 6 * time.Second},
		{time.Second, 0, 5 * time.Second},
		{time.Minute, 5 * time.Second, 61 * time.Second},
	} {
		world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
			stuck := stuckWriter{make(chan struct{})}
			defer close(stuck.free)
			ctx, cancel := context.WithCancel(t.Context())
			cmd := s.Command(ctx, "yes")
			cmd.Stdout, cmd.WaitDelay = stuck, c.delay
			world.Start(t, cmd)
			synctest.Wait()
			took := took(t)
			cancel()
			if err := cmd.Wait(); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			took(fmt.Sprintf("Wait with WaitDelay %v", c.delay), c.least, c.most)
		})
	}
}

// TestCancelWhileTheHostIsOutOfReach: Wait returns, and no more output is written. The command is killed as soon as the
// host can be reached.
func TestCancelWhileTheHostIsOutOfReach(t *testing.T) {
	for name, stdin := range map[string]bool{"idle": false, "with StdinPipe": true} {
		t.Run(name, func(t *testing.T) {
			world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
				why := errors.New("enough")
				ctx, cancel := context.WithCancelCause(t.Context())
				cmd := s.Command(ctx, "cat")
				var out bytes.Buffer
				cmd.Stdout, cmd.WaitDelay = &out, time.Second
				if stdin {
					if _, err := cmd.StdinPipe(); err != nil {
						t.Fatal(err)
					}
				} else {
					cmd.Args[0] = "sleep"
				}
				world.Start(t, cmd)
				w.Engine.Unreachable(s.Info().Instance.ID)
				took := took(t)
				cancel(why)
				if err := cmd.Wait(); !errors.Is(err, why) || cmd.ExitCode != -1 {
					t.Errorf("%v, exit code %d", err, cmd.ExitCode)
				}
				took("Wait", 0, 6*time.Second)
				out.WriteString("the caller's again")
				w.Engine.Reconnect(s.Info().Instance.ID)
				world.After(time.Minute)
				if n := w.Engine.Containers()[0].Sessions[0].Processes; n != 0 {
					t.Errorf("%d processes run when the host is back", n)
				}
			})
		})
	}
}

// TestCloseWaitsForCommands: Close waits also for commands whose Wait has returned.
func TestCloseWaitsForCommands(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := s.Command(ctx, "yes")
		if _, err := cmd.StdoutPipe(); err != nil {
			t.Fatal(err)
		}
		world.Start(t, cmd)
		w.Engine.Unreachable(s.Info().Instance.ID)
		cancel()
		if err := cmd.Wait(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		took := took(t)
		w.Close()
		took("Close", 0, 30*time.Second)
	})
}

func TestOutputKeepsTheEndOfStderr(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		for _, chunk := range []int{1, 1000, 32 << 10, 100 << 10} {
			_, err := s.Command(t.Context(), "drip", fmt.Sprint(chunk)).Output()
			failure, ok := errors.AsType[*berth.ExitError](err)
			if !ok {
				t.Fatal(err)
			}
			if want := world.Dripped[len(world.Dripped)-32<<10:]; string(failure.Stderr) != want {
				t.Errorf("in chunks of %d: %d bytes, or others", chunk, len(failure.Stderr))
			}
		}
	})
}
