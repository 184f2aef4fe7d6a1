package local_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store/memstore"
)

// TestLocalCommandsEndAsInOSExec checks with real programs what the tests of internal/command check with fakes.
func TestLocalCommandsEndAsInOSExec(t *testing.T) {
	l := local.New(t, berth.Config{})
	remote := l.Git.Create("org/r", gittest.Small())
	s := l.Create("t", remote.URL(), "")
	script := func(ctx context.Context, text string) *berth.Cmd { return s.Command(ctx, "sh", "-c", text) }

	t.Run("a child holds stdout", func(t *testing.T) {
		for code, end := range map[int]string{1: "exit 1", 0: "exit 0"} {
			cmd := script(t.Context(), "sleep 1000 & "+end)
			cmd.Stdout, cmd.WaitDelay = io.Discard, 200*time.Millisecond
			err := cmd.Run()
			if code != 0 {
				world.WantExit(t, cmd, err, code, 0)
			} else if !errors.Is(err, exec.ErrWaitDelay) || cmd.ExitCode != 0 {
				t.Errorf("Run: %v, exit code %d", err, cmd.ExitCode)
			}
		}
	})
	t.Run("the context ends while a child holds stdout", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := script(ctx, "sleep 1000 & exit 3")
		cmd.Stdout = io.Discard
		world.Start(t, cmd)
		time.AfterFunc(time.Second, cancel)
		world.WantExit(t, cmd, cmd.Wait(), 3, 0)
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
			world.Start(t, cmd)
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "first\n" {
				t.Fatalf("%q, %v", line, err)
			}
			out.Close()
			io.WriteString(in, "\n")
			if err := cmd.Wait(); code != 0 {
				world.WantExit(t, cmd, err, code, 0)
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
		held := script(t.Context(), "sleep 1000 & exit 3") // a child holds its output open and writes nothing
		held.Stdout = io.Discard
		in, err := held.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		world.Start(t, held)
		for err == nil { // until it is known that the program has ended
			_, err = io.WriteString(in, "x")
		}
		world.Start(t, cmd)
		lines := bufio.NewReader(out)
		if line, err := lines.ReadString('\n'); line != "first\n" {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := l.Docker.ContainerKill(t.Context(), s.Info().Container.ID, client.ContainerKillOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(lines); !errors.Is(err, berth.ErrContainerLost) {
			t.Errorf("the pipe ends with %v", err)
		}
		if err := cmd.Wait(); !errors.Is(err, berth.ErrContainerLost) || !errors.Is(err, berth.ErrOutputCut) {
			t.Errorf("Wait: %v", err)
		}
		err = held.Wait()
		world.WantExit(t, held, err, 3, 0)
		if !errors.Is(err, berth.ErrContainerLost) || !errors.Is(err, berth.ErrOutputCut) {
			t.Errorf("Wait, while a child holds the output: %v", err)
		}
	})
}

// TestLocalOutputIsWholeOrCut kills the container, or closes the Provider, at different moments while the output of
// commands that have ended still arrives.
func TestLocalOutputIsWholeOrCut(t *testing.T) {
	rounds, most := 4, 10*time.Second
	if testenv.Soak() {
		rounds, most = 60, 10*time.Minute
	}
	records := memstore.New()
	l := local.New(t, berth.Config{Store: records, Image: testenv.Image(t)})
	remote := l.Git.Create("org/r", gittest.Small())
	for name, c := range map[string]struct {
		end   func(p *berth.Provider, s *berth.Session)
		cause error
	}{
		"killed": {func(_ *berth.Provider, s *berth.Session) {
			if _, err := l.Docker.ContainerKill(t.Context(), s.Info().Container.ID, client.ContainerKillOptions{}); err != nil {
				t.Error(err)
			}
		}, berth.ErrContainerLost},
		"closed": {func(p *berth.Provider, _ *berth.Session) { p.Close() }, berth.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			var cuts, wholes, unknown atomic.Int64
			for round := range rounds {
				if time.Since(began) > most {
					t.Logf("after %d rounds that is enough", round)
					break
				}
				s := l.Create(fmt.Sprint(name, round), remote.URL(), "")
				p, err := berth.NewLocalProvider(t.Context(), berth.Config{Name: l.Name, Store: records, Image: testenv.Image(t), Egress: gittest.Egress()})
				if err != nil {
					t.Fatal(err)
				}
				there := world.Get(t, p, s.ID())
				var all, begun sync.WaitGroup
				over := make(chan struct{})
				for i := range 12 {
					begun.Add(1)
					all.Go(func() {
						out, size := &slow{begun: sync.OnceFunc(begun.Done)}, int64(3_000_000)
						if i < 4 { // the agent buffers all of it, so the command ends although nothing reads
							out.until, size = over, 1_000_000
						}
						defer out.begun()
						code := i % 2
						cmd := there.Command(t.Context(), "sh", "-c", fmt.Sprintf("head -c %d /dev/zero; exit %d", size, code))
						cmd.Stdout = out
						err := cmd.Run()
						_, failed := errors.AsType[*berth.ExitError](err)
						n := out.n.Load()
						switch cut := errors.Is(err, berth.ErrOutputCut); {
						case !cut && n == size && failed == (code == 1) && (err == nil) == (code == 0):
							wholes.Add(1)
						case !cut && n == 0 && errors.Is(err, c.cause): // it was not started
						case cut && errors.Is(err, c.cause) && cmd.ExitCode == code:
							cuts.Add(1)
						case cut && errors.Is(err, c.cause) && cmd.ExitCode == -1:
							unknown.Add(1)
						default:
							t.Errorf("%d bytes of %d, exit code %d: %v", n, size, cmd.ExitCode, err)
						}
					})
				}
				begun.Wait()
				<-time.After(rand.N(600 * time.Millisecond))
				c.end(p, there)
				close(over)
				all.Wait()
				p.Close()
				if err := l.TerminateSession(t.Context(), s.ID()); err != nil {
					t.Error(err)
				}
			}
			t.Logf("%d outputs were whole, %d cut off, %d of commands whose end is not known", wholes.Load(), cuts.Load(), unknown.Load())
			if cuts.Load() == 0 {
				t.Error("no output of a command that had ended was cut off: the test tests nothing")
			}
		})
	}
}

// slow is a Writer that sleeps, so that a command ends before its output has arrived.
type slow struct {
	begun func()
	until chan struct{} // Write waits until it is closed; nil = Write does not wait
	n     atomic.Int64
}

func (s *slow) Write(b []byte) (int, error) {
	s.begun()
	if s.until != nil {
		<-s.until
	}
	s.n.Add(int64(len(b)))
	<-time.After(time.Duration(rand.N(20)) * time.Millisecond)
	return len(b), nil
}
