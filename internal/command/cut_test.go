package command_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
)

// flood implements the command "flood BYTES CODE", which prints so many bytes and exits with a code.
func flood(ctx context.Context, c fake.Command) int {
	var n, code int
	fmt.Sscan(c.Args[1]+" "+c.Args[2], &n, &code)
	if _, err := io.WriteString(c.Stdout, strings.Repeat("x", n)); err != nil {
		return 1
	}
	if len(c.Args) > 3 { // until it is killed
		<-ctx.Done()
		return -9
	}
	return code
}

// striker is a Writer that calls strike at the chunk number at, from 1.
type striker struct {
	busy chan struct{} // full while a Write runs: waiting for a mutex would stop virtual time
	bytes.Buffer
	at, n  int
	strike func()
}

func (s *striker) Write(b []byte) (int, error) {
	s.busy <- struct{}{}
	defer func() { <-s.busy }()
	if s.n++; s.n == s.at {
		synctest.Wait() // until the command has ended, or waits for this
		s.strike()
	}
	return s.Buffer.Write(b)
}

// cuts are the events that can come between the end of a command and the end of its output.
var cuts = map[string]struct {
	strike func(w *world.World, s *berth.Session, cancel func())
	cause  error
	whole  bool // that must not cut the output of a command that has ended
}{
	"container killed":   {func(w *world.World, s *berth.Session, _ func()) { w.Engine.KillContainer(s.Info().Container.Name) }, berth.ErrContainerLost, false},
	"container removed":  {func(w *world.World, s *berth.Session, _ func()) { w.Engine.RemoveContainer(s.Info().Container.Name) }, berth.ErrContainerLost, false},
	"instance lost":      {func(w *world.World, s *berth.Session, _ func()) { w.Cloud.Vanish(s.Info().Instance.ID) }, berth.ErrInstanceLost, false},
	"Provider closed":    {func(w *world.World, s *berth.Session, _ func()) { w.Close() }, berth.ErrClosed, false},
	"session terminated": {func(w *world.World, s *berth.Session, _ func()) { w.Terminate(s) }, berth.ErrTerminated, false},
	"context ended":      {func(_ *world.World, _ *berth.Session, cancel func()) { cancel() }, context.Canceled, true},
	"connection cut":     {func(w *world.World, s *berth.Session, _ func()) { w.Engine.CutConnections(s.Info().Instance.ID) }, nil, true},
}

// TestOutputIsWholeOrCut strikes at each chunk of the output of commands that have ended, of those that will end, and
// of those that never do.
func TestOutputIsWholeOrCut(t *testing.T) {
	const chunk = 16 << 10
	engine := fake.EngineOptions{Run: flood}
	for name, c := range cuts {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{3 * chunk, 9 * chunk} { // with the smaller size, all output is under way when the command ends
				for _, code := range []string{"0", "3"} {
					for at := 1; at <= size/chunk; at++ {
						world.Run(t, world.Setup{Engine: engine}, func(t *testing.T, w *world.World) {
							s := w.Create("t", world.RepoA)
							ctx, cancel := context.WithCancel(t.Context())
							defer cancel()
							out := &striker{busy: make(chan struct{}, 1), at: at, strike: func() { c.strike(w, s, cancel) }}
							cmd := s.Command(ctx, "flood", fmt.Sprint(size), code)
							cmd.Stdout = out
							err := cmd.Run()
							out.busy <- struct{}{} // Wait does not wait for a Write that is under way
							cut := errors.Is(err, berth.ErrOutputCut)
							exit, failed := errors.AsType[*berth.ExitError](err)
							where := fmt.Sprintf("exit %s, chunk %d of %d: %d of %d bytes, %v", code, at, size/chunk, out.Len(), size, err)
							// All but the last chunks were there before it ended.
							ended := at > size/chunk-3
							switch {
							case !cut && err == nil && (out.Len() != size || code != "0"):
								t.Errorf("cut output is taken for whole: %s", where)
							case !cut && failed && exit.Signal == 0 && out.Len() != size:
								t.Errorf("cut output is taken for whole: %s", where)
							case err != nil && c.cause != nil && !errors.Is(err, c.cause) && !failed:
								t.Errorf("the error has another cause: %s", where)
							case cut && !errors.Is(err, c.cause):
								t.Errorf("the error does not say why: %s", where)
							case ended && cut && failed != (code == "3") || ended && cut && fmt.Sprint(cmd.ExitCode) != code:
								t.Errorf("the known exit code is missing: %s", where)
							case cut && c.whole && ended:
								t.Errorf("output was cut without need: %s", where)
							}
						})
					}
				}
			}
		})
	}
}

// TestPipeIsWholeOrCut is TestOutputIsWholeOrCut for a pipe. A pipe ends with io.EOF only if everything was read.
func TestPipeIsWholeOrCut(t *testing.T) {
	const chunk, size = 16 << 10, 5 * 16 << 10
	for name, c := range cuts {
		t.Run(name, func(t *testing.T) {
			for at := 1; at <= size/chunk; at++ {
				world.Run(t, world.Setup{Engine: fake.EngineOptions{Run: flood}}, func(t *testing.T, w *world.World) {
					s := w.Create("t", world.RepoA)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					cmd := s.Command(ctx, "flood", fmt.Sprint(size), "0")
					pipe, err := cmd.StdoutPipe()
					if err != nil {
						t.Fatal(err)
					}
					world.Start(t, cmd)
					if _, err := io.CopyN(io.Discard, pipe, int64(at*chunk-1)); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					c.strike(w, s, cancel)
					time.Sleep(10 * time.Second) // nobody reads
					rest, end := io.ReadAll(pipe)
					err = cmd.Wait()
					whole := at*chunk-1+len(rest) == size
					if end == nil && !whole || end != nil && (!errors.Is(end, berth.ErrOutputCut) || !errors.Is(end, c.cause)) {
						t.Errorf("chunk %d: the pipe gives %d bytes more and %v", at, len(rest), end)
					}
					if !whole && (!errors.Is(err, berth.ErrOutputCut) || !errors.Is(err, c.cause)) {
						t.Errorf("chunk %d: Wait: %v", at, err)
					}
				})
			}
		})
	}
}

// TestOutputThatIsHeldUp: a command has ended, and its output does not end. A child that it left behind can cause that.
func TestOutputThatIsHeldUp(t *testing.T) {
	for name, c := range cuts {
		for _, delay := range []time.Duration{0, time.Hour} {
			want := c.cause
			if want == nil { // its output still arrives
				want = exec.ErrWaitDelay
			}
			switch {
			case want == exec.ErrWaitDelay && delay == 0: // Wait would wait for it without bound
				continue
			case want == context.Canceled && delay > 0: // either of the two may come first
				continue
			}
			t.Run(fmt.Sprintf("%s, WaitDelay %v", name, delay), func(t *testing.T) {
				world.Run(t, world.Setup{Engine: fake.EngineOptions{Run: flood}}, func(t *testing.T, w *world.World) {
					s := w.Create("t", world.RepoA)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					held := stuckWriter{make(chan struct{})}
					defer close(held.free)
					codes := []string{"0", "3"}
					var cmds []*berth.Cmd
					for _, code := range codes {
						cmd := s.Command(ctx, "flood", "10", code)
						cmd.Stdout, cmd.WaitDelay = held, delay
						world.Start(t, cmd)
						cmds = append(cmds, cmd)
					}
					synctest.Wait()
					c.strike(w, s, cancel)
					for i, cmd := range cmds {
						err := cmd.Wait()
						_, failed := errors.AsType[*berth.ExitError](err)
						if !errors.Is(err, berth.ErrOutputCut) || !errors.Is(err, want) || failed != (codes[i] == "3") || fmt.Sprint(cmd.ExitCode) != codes[i] {
							t.Errorf("exit %s: %v, exit code %d; want %v", codes[i], err, cmd.ExitCode, want)
						}
					}
				})
			})
		}
	}
}

// TestOutputOfACommandWhoseEndIsNotKnown: the output is not whole, even if some has arrived. A command without Writers
// has no output that could be cut.
func TestOutputOfACommandWhoseEndIsNotKnown(t *testing.T) {
	for name, c := range cuts {
		if c.cause == nil || c.cause == context.Canceled {
			continue
		}
		world.Run(t, world.Setup{Engine: fake.EngineOptions{Run: flood}}, func(t *testing.T, w *world.World) {
			s := w.Create("t", world.RepoA)
			loud, quiet := s.Command(t.Context(), "flood", "10", "0", "lives"), s.Command(t.Context(), "flood", "10", "0", "lives")
			var out bytes.Buffer
			loud.Stdout = &out
			world.Start(t, loud)
			world.Start(t, quiet)
			synctest.Wait()
			c.strike(w, s, nil)
			killed := c.cause == berth.ErrTerminated // so it ends, with everything that it had written
			if err := loud.Wait(); !errors.Is(err, c.cause) || errors.Is(err, berth.ErrOutputCut) == killed {
				t.Errorf("%s: %v", name, err)
			}
			if err := quiet.Wait(); !errors.Is(err, c.cause) || errors.Is(err, berth.ErrOutputCut) {
				t.Errorf("%s, without a Writer: %v", name, err)
			}
		})
	}
}

// TestCommandsAfterARestore: the store has the session. Its container does not have it, or does not exist.
func TestCommandsAfterARestore(t *testing.T) {
	for name, c := range map[string]struct {
		restore func(w *world.World, s *berth.Session)
		want    error
	}{
		"the container does not have it": {func(w *world.World, s *berth.Session) {
			w.Edit(s.ID(), func(tx store.Tx, s *store.Session, c *store.Container) error {
				kept := *s
				kept.ID, kept.TaskID = "s-earlier", "earlier"
				c.Sessions++
				if err := tx.Put(c); err != nil {
					return err
				}
				return tx.Put(&kept)
			})
		}, berth.ErrContainerLost},
		"the container is another one": {func(w *world.World, s *berth.Session) {
			w.Edit(s.ID(), func(tx store.Tx, s *store.Session, c *store.Container) error {
				c.EngineID, s.EngineID = "earlier", "earlier"
				if err := tx.Put(s); err != nil {
					return err
				}
				return tx.Put(c)
			})
		}, berth.ErrContainerLost},
		"the container is gone": {func(w *world.World, s *berth.Session) { w.Engine.RemoveContainer(s.Info().Container.Name) }, berth.ErrContainerLost},
		"the container's record is gone": {func(w *world.World, s *berth.Session) {
			w.Edit(s.ID(), func(tx store.Tx, s *store.Session, c *store.Container) error { return tx.Delete(c.Key()) })
		}, berth.ErrContainerLost},
		"the session's record is gone": {func(w *world.World, s *berth.Session) {
			w.Edit(s.ID(), func(tx store.Tx, s *store.Session, c *store.Container) error { return tx.Delete(s.Key()) })
		}, berth.ErrSessionNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world.World) {
				s := w.Create("t", world.RepoA)
				id := s.ID()
				next := w.NewProvider()
				known, err := next.GetSession(t.Context(), id) // a handle from before
				if err != nil {
					t.Fatal(err)
				}
				w.Close()
				c.restore(w, s)
				if name == "the container does not have it" {
					known = world.Get(t, next, "s-earlier")
				}
				err = known.Command(t.Context(), "true").Run()
				if !errors.Is(err, c.want) || errors.Is(err, agent.ErrGone) || errors.Is(err, agent.ErrUnknownSession) {
					t.Errorf("%v; want %v", err, c.want)
				}
			})
		})
	}
}

// TestOutputUnderRandomTrouble runs commands that read a big Stdin and print it again. At random moments it ends their
// contexts, session, container or Provider.
func TestOutputUnderRandomTrouble(t *testing.T) {
	const size = 300_000
	input := strings.Repeat("0123456789", size/10)
	causes := []error{
		berth.ErrContainerLost, berth.ErrInstanceLost, berth.ErrClosed, berth.ErrTerminated, context.Canceled, exec.ErrWaitDelay,
	}
	names := slices.Sorted(maps.Keys(cuts))
	var cutOff, whole atomic.Int64
	for seed := range uint64(150) {
		dice := rand.New(rand.NewPCG(seed, 0))
		strikes := []string{names[dice.IntN(len(names))], names[dice.IntN(len(names))]}
		first, second := time.Duration(dice.IntN(400))*time.Millisecond, time.Duration(dice.IntN(400))*time.Millisecond
		world.Run(t, world.Setup{Engine: fake.EngineOptions{Run: world.Shell}}, func(t *testing.T, w *world.World) {
			s := w.Create("t", world.RepoA)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var all sync.WaitGroup
			for i := range 4 {
				out := &sluggish{pause: time.Duration(dice.IntN(20)) * time.Millisecond}
				in := &sluggish{r: strings.NewReader(input), pause: time.Duration(dice.IntN(5)) * time.Millisecond}
				cmd := s.Command(ctx, "cat")
				cmd.Stdin, cmd.Stdout = in, out
				if i == 3 {
					cmd.WaitDelay = 30 * time.Millisecond
				}
				all.Go(func() {
					err := cmd.Run()
					cut := errors.Is(err, berth.ErrOutputCut)
					if cut {
						cutOff.Add(1)
					} else if err == nil {
						whole.Add(1)
					}
					known := slices.ContainsFunc(causes, func(cause error) bool { return errors.Is(err, cause) })
					_, failed := errors.AsType[*berth.ExitError](err)
					switch n := out.n.Load(); {
					case err == nil && n != size:
						t.Errorf("seed %d, %v: %d bytes of %d, and no error", seed, strikes, n, size)
					case err != nil && !known && !failed:
						t.Errorf("seed %d, %v: an error that says nothing: %v", seed, strikes, err)
					case cut && !known:
						t.Errorf("seed %d, %v: cut off, and the error does not say why: %v", seed, strikes, err)
					case errors.Is(err, agent.ErrGone) || errors.Is(err, agent.ErrClosed):
						t.Errorf("seed %d, %v: the agent's error: %v", seed, strikes, err)
					}
				})
			}
			for i, name := range strikes {
				all.Go(func() {
					time.Sleep([]time.Duration{first, second}[i])
					if name == "session terminated" {
						if err := w.TerminateSession(context.WithoutCancel(ctx), s.ID()); err != nil && !errors.Is(err, berth.ErrClosed) {
							t.Error(err)
						}
						return
					}
					cuts[name].strike(w, s, cancel)
				})
			}
			all.Wait()
			time.Sleep(time.Second) // for a Read and a Write that are under way
		})
	}
	if cutOff.Load() < 20 || whole.Load() < 20 {
		t.Errorf("%d outputs were cut off, %d were whole: the test tests nothing", cutOff.Load(), whole.Load())
	}
}

// sluggish is a Reader and a Writer that sleeps before each call.
type sluggish struct {
	r     io.Reader
	pause time.Duration
	n     atomic.Int64
}

func (s *sluggish) Read(b []byte) (int, error) {
	time.Sleep(s.pause)
	return s.r.Read(b)
}

func (s *sluggish) Write(b []byte) (int, error) {
	time.Sleep(s.pause)
	s.n.Add(int64(len(b)))
	return len(b), nil
}
