package fake_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
)

func TestCommandThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fake.NewEngine(fake.EngineOptions{Run: func(_ context.Context, c fake.Command) int {
			time.Sleep(time.Hour)
			if _, err := io.WriteString(c.Stdout, "too late"); err == nil {
				t.Error("a dead command could write")
			}
			return 0
		}})
		in := attached(t, e, benchKey)
		var out bytes.Buffer
		p := running(t, in, &out)
		begun := time.Now()
		if err := in.CloseSession(t.Context(), "s-0", session(0).UID); err != nil {
			t.Fatal(err)
		}
		exit, err := p.Wait()
		if err != nil || exit.Signal != 9 || exit.Code != -1 {
			t.Errorf("Wait = %+v, %v", exit, err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("that took %v", took)
		}
		e.Close()
		if took := time.Since(begun); took < 59*time.Minute {
			t.Errorf("Close returned after %v, before the function", took)
		}
		if out.Len() > 0 {
			t.Errorf("after Wait came %q", out.String())
		}
	})
}

func TestInputThatNeverComesDoesNotKeepACommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fake.NewEngine(fake.EngineOptions{Run: func(_ context.Context, c fake.Command) int {
			io.Copy(c.Stdout, c.Stdin)
			return 0
		}})
		in := attached(t, e, benchKey)
		if _, err := in.Open(t.Context(), session(0)); err != nil {
			t.Fatal(err)
		}
		r, w := io.Pipe()
		var out bytes.Buffer
		p, err := in.Start(t.Context(), agent.Command{Session: "s-0", Args: []string{"cat"}, Stdin: r, Stdout: &out, Ended: func(agent.Exit, error) { w.Close() }})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "hello")
		synctest.Wait()
		if err := p.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		if exit, err := p.Wait(); err != nil || exit.Signal != 9 || out.String() != "hello" {
			t.Errorf("Wait = %+v, %v; output %q", exit, err, out.String())
		}
		e.Close()
	})
}

func TestInputThatNeverComesKeepsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fake.NewEngine(fake.EngineOptions{Run: func(context.Context, fake.Command) int { return 0 }})
		in := attached(t, e, benchKey)
		if _, err := in.Open(t.Context(), session(0)); err != nil {
			t.Fatal(err)
		}
		run := func(delay time.Duration, want error) {
			t.Helper()
			r, w := io.Pipe()
			defer w.Close()
			p, err := in.Start(t.Context(), agent.Command{Session: "s-0", Args: []string{"true"}, Stdin: r, WaitDelay: delay})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Wait(); !errors.Is(err, want) {
				t.Errorf("Wait: %v; want %v", err, want)
			}
		}
		run(time.Minute, exec.ErrWaitDelay)
		time.AfterFunc(time.Minute, func() { in.Close() })
		run(0, nil) // it has ended by itself, and needs no more
		e.Close()
	})
}

func TestEnvironmentAndFilesOfASession(t *testing.T) {
	e := fake.NewEngine(fake.EngineOptions{Instant: true, Run: func(_ context.Context, c fake.Command) int {
		if c.Args[0] == "write" {
			c.Files.Write("note", []byte(c.Env["A"]+c.Env["B"]+c.Env["HOME"]+c.Dir))
			return 0
		}
		content, err := c.Files.Read("note")
		if err != nil {
			return 1
		}
		c.Stdout.Write(content)
		return 0
	}})
	in := attached(t, e, benchKey)
	s := session(0)
	s.Env = map[string]string{"A": "session ", "B": "hidden "}
	if _, err := in.Open(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	run := func(c agent.Command) (int, string) {
		t.Helper()
		var out bytes.Buffer
		c.Session, c.Stdout = s.ID, &out
		p, err := in.Start(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		exit, err := p.Wait()
		if err != nil {
			t.Fatal(err)
		}
		return exit.Code, out.String()
	}
	run(agent.Command{Args: []string{"write"}, Env: []string{"B=first", "B=command "}, Dir: "sub/.."})
	if code, got := run(agent.Command{Args: []string{"read"}}); code != 0 || got != "session command /sessions/s-0/sessions/s-0/go" {
		t.Errorf("read = %d, %q", code, got)
	}
	if err := in.CloseSession(t.Context(), s.ID, s.UID); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Open(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if code, got := run(agent.Command{Args: []string{"read"}}); code != 1 {
		t.Errorf("a new session of the same ID found %q", got)
	}
}

func TestCommandThatEndsAsItStartsEndsTheIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fake.NewEngine(fake.EngineOptions{Instant: true})
		in := attached(t, e, benchKey)
		if _, err := in.Open(t.Context(), session(0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if idle, err := in.Idle(t.Context(), "s-0"); err != nil || idle != time.Hour {
			t.Errorf("before: %v, %v", idle, err)
		}
		if _, err := in.Start(t.Context(), agent.Command{Session: "s-0", Args: []string{"x"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if idle, err := in.Idle(t.Context(), "s-0"); err != nil || idle != time.Minute {
			t.Errorf("after: %v, %v", idle, err)
		}
	})
}

// TestStartThatIsGivenUp leaves nothing running, at the latest when its host is back.
func TestStartThatIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		begin, heal func(e *fake.Engine)
	}{
		"the answer is late": {
			func(e *fake.Engine) { e.Next(fake.Start, 1, fake.Fault{HangAfter: true}) },
			func(*fake.Engine) {},
		},
		"the host is out of reach": {
			func(e *fake.Engine) {
				e.Next(fake.Start, 1, fake.Fault{Done: func() { e.Unreachable("tcp://10.0.0.1:2376") }})
			},
			func(e *fake.Engine) { e.Reconnect("tcp://10.0.0.1:2376") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := fake.NewEngine(fake.EngineOptions{Run: func(ctx context.Context, _ fake.Command) int {
					<-ctx.Done()
					return 0
				}})
				in := attached(t, e, benchKey)
				if _, err := in.Open(t.Context(), session(0)); err != nil {
					t.Fatal(err)
				}
				c.begin(e)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := in.Start(ctx, agent.Command{Session: "s-0", Args: []string{"x"}}); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Start: %v", err)
				}
				time.Sleep(10 * time.Second)
				c.heal(e)
				synctest.Wait()
				if n := e.Containers()[0].Sessions[0].Processes; n != 0 {
					t.Errorf("%d processes run", n)
				}
				e.Close()
			})
		})
	}
}
