package berth_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
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

func start(t *testing.T, cmd *berth.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func TestWaitEndsAnOpenStdinPipe(t *testing.T) {
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
		cmd := s.Command(t.Context(), "true")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		start(t, cmd)
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

// TestWaitKeepsToABlockingReader: as with os/exec, it is waited for, but not longer than WaitDelay.
func TestWaitKeepsToABlockingReader(t *testing.T) {
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
		r, blocked := io.Pipe()
		cmd := s.Command(t.Context(), "true")
		cmd.Stdin = r
		start(t, cmd)
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
		start(t, cmd)
		waiting = took(t)
		if err := cmd.Wait(); !errors.Is(err, exec.ErrWaitDelay) {
			t.Error(err)
		}
		waiting("Wait with WaitDelay", time.Minute, 61*time.Second)
	})
}

func TestCancelEndsAPipeThatNobodyReads(t *testing.T) {
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := s.Command(ctx, "yes")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		start(t, cmd)
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

// TestCancelLeavesWhatWasWritten: a pipe that is read to its end has that end, not the context's.
func TestCancelLeavesWhatWasWritten(t *testing.T) {
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := s.Command(ctx, "yes")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		start(t, cmd)
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

// drainSoon is less than what a killed command's pipes may still be read for.
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
		inShell(t, func(t *testing.T, w *world, s *berth.Session) {
			stuck := stuckWriter{make(chan struct{})}
			defer close(stuck.free)
			ctx, cancel := context.WithCancel(t.Context())
			cmd := s.Command(ctx, "yes")
			cmd.Stdout, cmd.WaitDelay = stuck, c.delay
			start(t, cmd)
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

// TestCancelWhileTheHostIsOutOfReach: Wait returns, nothing is written any more, and the command is killed when that
// can be done.
func TestCancelWhileTheHostIsOutOfReach(t *testing.T) {
	for name, stdin := range map[string]bool{"idle": false, "with StdinPipe": true} {
		t.Run(name, func(t *testing.T) {
			inShell(t, func(t *testing.T, w *world, s *berth.Session) {
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
				start(t, cmd)
				w.engine.Unreachable(s.Info().Instance.ID)
				took := took(t)
				cancel(why)
				if err := cmd.Wait(); !errors.Is(err, why) || cmd.ExitCode != -1 {
					t.Errorf("%v, exit code %d", err, cmd.ExitCode)
				}
				took("Wait", 0, 6*time.Second)
				out.WriteString("the caller's again")
				w.engine.Reconnect(s.Info().Instance.ID)
				after(time.Minute)
				if n := w.engine.Containers()[0].Sessions[0].Processes; n != 0 {
					t.Errorf("%d processes run when the host is back", n)
				}
			})
		})
	}
}

// TestCloseWaitsForCommands: also for those that Wait has let go of.
func TestCloseWaitsForCommands(t *testing.T) {
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := s.Command(ctx, "yes")
		if _, err := cmd.StdoutPipe(); err != nil {
			t.Fatal(err)
		}
		start(t, cmd)
		w.engine.Unreachable(s.Info().Instance.ID)
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
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
		for _, chunk := range []int{1, 1000, 32 << 10, 100 << 10} {
			_, err := s.Command(t.Context(), "drip", fmt.Sprint(chunk)).Output()
			failure, ok := errors.AsType[*berth.ExitError](err)
			if !ok {
				t.Fatal(err)
			}
			if want := dripped[len(dripped)-32<<10:]; string(failure.Stderr) != want {
				t.Errorf("in chunks of %d: %d bytes, or others", chunk, len(failure.Stderr))
			}
		}
	})
}

// dripped is what the command drip writes to stderr, in chunks.
var dripped = strings.Repeat("0123456789abcde", 12<<10)

func drip(c fake.Command) int {
	var chunk int
	fmt.Sscan(c.Args[1], &chunk)
	for rest := dripped; rest != ""; {
		n := min(chunk, len(rest))
		io.WriteString(c.Stderr, rest[:n])
		rest = rest[n:]
	}
	return 1
}
