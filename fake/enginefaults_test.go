package fake_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/orchestrator"
)

const address = "tcp://10.0.0.1:2376"

func spec() orchestrator.ContainerSpec {
	return orchestrator.ContainerSpec{Name: benchKey.ContainerName("p"), Key: benchKey}
}

// connect reaches the host of a launch.
func connect(t *testing.T, e orchestrator.Engine, launch, address string) (orchestrator.Host, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return e.Connect(ctx, orchestrator.Endpoint{Pool: "p", PoolUID: "u", Launch: launch, Address: address})
}

// within returns a context that ends a minute from now.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestHostAnswersWhileItsMachineRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewCloud(fake.CloudOptions{})
		e := fake.NewEngine(fake.EngineOptions{Cloud: c})
		mustLaunch(t, c, "a")
		if _, err := connect(t, e, "a", address); err == nil || !strings.Contains(err.Error(), address) {
			t.Errorf("while it boots Connect = %v, want an error with the address", err)
		}
		time.Sleep(5 * time.Second)
		h, err := connect(t, e, "a", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Ensure(t.Context(), spec(), nil); err != nil {
			t.Fatal(err)
		}
		c.Vanish("a")
		if err := h.Probe(t.Context()); err == nil || errors.Is(err, orchestrator.ErrWrongHost) {
			t.Errorf("when it has vanished Probe = %v", err)
		}
		if left := e.Containers(); len(left) != 0 {
			t.Errorf("there are still %+v", left)
		}
		mustLaunch(t, c, "b")
		time.Sleep(5 * time.Second)
		if err := h.Probe(t.Context()); !errors.Is(err, orchestrator.ErrWrongHost) {
			t.Errorf("when another has its address Probe = %v", err)
		}
		if _, err := connect(t, e, "a", address); !errors.Is(err, orchestrator.ErrWrongHost) {
			t.Errorf("when another has its address Connect = %v", err)
		}
		next, err := connect(t, e, "b", address)
		if err != nil {
			t.Fatal(err)
		}
		if inv, err := next.List(t.Context()); err != nil || len(inv.Containers)+len(inv.Mirrors) > 0 {
			t.Errorf("the new machine has %+v, %v", inv, err)
		}
	})
}

func TestCommandOnAVanishedMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewCloud(fake.CloudOptions{Instant: true})
		stopped := make(chan struct{})
		e := fake.NewEngine(fake.EngineOptions{Cloud: c, Run: func(ctx context.Context, _ fake.Command) int {
			<-ctx.Done()
			close(stopped)
			return 0
		}})
		m := mustLaunch(t, c, "l")
		in := attached(t, e, benchKey)
		if m.Address != address {
			t.Fatalf("the machine's address is %s", m.Address)
		}
		p := running(t, in, nil)
		c.Vanish("l")
		<-stopped
		waited := make(chan error, 1)
		go func() {
			_, err := p.Wait()
			waited <- err
		}()
		if _, err := in.Sessions(within(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sessions = %v: nobody can know that the machine will not come back", err)
		}
		select {
		case err := <-waited:
			t.Fatalf("Wait = %v, before anybody can know", err)
		default:
		}
		in.Close()
		if err := <-waited; err == nil {
			t.Error("Wait succeeded")
		}
	})
}

func TestUnreachableHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fake.NewEngine(fake.EngineOptions{Run: func(_ context.Context, c fake.Command) int {
			time.Sleep(10 * time.Second)
			c.Stdout.Write([]byte("done"))
			return 3
		}})
		in := attached(t, e, benchKey)
		h, err := connect(t, e, "l", address)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		p := running(t, in, &out)
		go func() {
			time.Sleep(100 * time.Millisecond)
			e.Unreachable("l")
			time.Sleep(30 * time.Second)
			e.Reconnect("l")
		}()
		other := spec()
		other.Name += "-2"
		if _, err := h.Ensure(t.Context(), other, nil); err == nil {
			t.Error("Ensure succeeded though its reply could not arrive")
		}
		if n := len(e.Containers()); n != 2 {
			t.Errorf("there are %d containers: the call that was cut off had its effect", n)
		}
		if err := h.Probe(t.Context()); err == nil {
			t.Error("Probe of an unreachable host succeeded")
		}
		begun := time.Now()
		if _, err := in.Sessions(t.Context()); err != nil || time.Since(begun) < 29*time.Second {
			t.Errorf("Sessions = %v after %v: it should wait for the host", err, time.Since(begun))
		}
		if exit, err := p.Wait(); err != nil || exit.Code != 3 || out.String() != "done" {
			t.Errorf("Wait = %+v, %v; output %q", exit, err, out.String())
		}
	})
}

func TestHungHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fake.NewEngine(fake.EngineOptions{Run: func(_ context.Context, c fake.Command) int {
			time.Sleep(time.Second)
			return 4
		}})
		in := attached(t, e, benchKey)
		h, err := connect(t, e, "l", address)
		if err != nil {
			t.Fatal(err)
		}
		p := running(t, in, nil)
		e.HangHost("l")
		if err := h.Probe(within(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Probe = %v", err)
		}
		if _, err := in.Sessions(within(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sessions = %v", err)
		}
		time.AfterFunc(time.Minute, func() { e.Reconnect("l") })
		if err := h.Probe(t.Context()); err != nil {
			t.Errorf("Probe = %v", err)
		}
		if exit, err := p.Wait(); err != nil || exit.Code != 4 {
			t.Errorf("Wait = %+v, %v", exit, err)
		}
	})
}

func TestContainerThatDiesUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fake.NewEngine(fake.EngineOptions{})
		in := attached(t, e, benchKey)
		e.Unreachable(address)
		e.KillContainer(spec().Name)
		synctest.Wait()
		if err := in.Err(); err != nil {
			t.Errorf("Err = %v, though nobody can know", err)
		}
		e.Reconnect(address)
		<-in.Done()
		if err := in.Err(); !errors.Is(err, agent.ErrGone) {
			t.Errorf("Err = %v, want ErrGone", err)
		}
	})
}

func TestCutConnectionHidesTheResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fake.NewEngine(fake.EngineOptions{})
		in := attached(t, e, benchKey)
		h, err := connect(t, e, "l", address)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(500*time.Microsecond, func() { e.CutConnections(address) })
		if _, err := h.List(t.Context()); err == nil {
			t.Error("List succeeded over a connection that broke")
		}
		if err := h.Probe(t.Context()); err != nil {
			t.Errorf("Probe over a new connection: %v", err)
		}
		if _, err := in.Sessions(t.Context()); err != nil {
			t.Errorf("Sessions: %v", err)
		}
	})
}

func TestRestartedEngineStopsItsContainers(t *testing.T) {
	e := fake.NewEngine(fake.EngineOptions{Instant: true})
	in := attached(t, e, benchKey)
	e.RestartEngine(address)
	<-in.Done()
	if all := e.Containers(); len(all) != 1 || all[0].Running {
		t.Errorf("Containers = %+v", all)
	}
	again := attached(t, e, benchKey)
	if n := e.Starts(spec().Name); n != 2 {
		t.Errorf("Starts = %d", n)
	}
	again.Close()
}

func TestRefusals(t *testing.T) {
	e := fake.NewEngine(fake.EngineOptions{Instant: true, Disk: 1 << 20, Repositories: map[string]fake.Repo{
		"https://example.org/a/missing": {Missing: true},
		"example.org/a/private":         {Password: "secret"},
		"https://example.org/a/huge":    {Size: 1 << 30},
	}})
	in := attached(t, e, benchKey)
	e.BreakMirror(spec().Name)
	for _, test := range []struct {
		fetch agent.Fetch
		want  string
	}{
		{agent.Fetch{URL: "https://example.org/a/missing"}, "Repository not found"},
		{agent.Fetch{URL: "https://example.org/a/private"}, "terminal prompts disabled"},
		{agent.Fetch{URL: "https://example.org/a/private", Username: "a", Password: "wrong"}, "Authentication failed"},
		{agent.Fetch{URL: "https://example.org/a/huge"}, "No space left on device"},
	} {
		_, err := in.Fetch(t.Context(), test.fetch, nil)
		var git *agent.GitError
		if !errors.As(err, &git) || !strings.Contains(git.Message, test.want) {
			t.Errorf("Fetch(%s) = %v, want git to say %q", test.fetch.URL, err, test.want)
		}
	}
	if _, err := in.Fetch(t.Context(), agent.Fetch{URL: "git@example.org:a/private.git", Password: "secret"}, nil); err != nil {
		t.Errorf("Fetch with the password: %v", err)
	}
	one := session(1)
	one.Proven = true
	e.DiskFull(address, true)
	if _, err := in.Open(t.Context(), one); err == nil {
		t.Error("Open found room on a full disk")
	}
	e.Heal()
	if _, err := in.Open(t.Context(), one); err != nil {
		t.Error(err)
	}
}

func TestPromisedFaultsOfTheEngine(t *testing.T) {
	e := fake.NewEngine(fake.EngineOptions{Instant: true})
	h, err := connect(t, e, "l", address)
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	e.Fail(fake.Ensure, 1, full)
	e.LoseReplies(fake.Ensure, 1)
	if _, err := h.Ensure(t.Context(), spec(), nil); !errors.Is(err, full) || e.Starts(spec().Name) != 0 {
		t.Errorf("the first Ensure = %v, with %d starts", err, e.Starts(spec().Name))
	}
	if _, err := h.Ensure(t.Context(), spec(), nil); err == nil || e.Starts(spec().Name) != 1 {
		t.Errorf("the second Ensure = %v, with %d starts", err, e.Starts(spec().Name))
	}
	if c, err := h.Ensure(t.Context(), spec(), nil); err != nil || !c.Adopted {
		t.Errorf("the third Ensure = %+v, %v", c, err)
	}
	if n := e.Calls(fake.Ensure); n != 3 {
		t.Errorf("Calls = %d", n)
	}
}

func TestHighWaterMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewCloud(fake.CloudOptions{Instant: true})
		e := fake.NewEngine(fake.EngineOptions{Instant: true, Cloud: c})
		for _, id := range []string{"a", "b"} {
			m := mustLaunch(t, c, id)
			h, err := connect(t, e, id, m.Address)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.Ensure(t.Context(), spec(), nil); err != nil {
				t.Fatal(err)
			}
			c.Vanish(id)
		}
		if n := e.MaxRunning(spec().Name); n != 1 {
			t.Errorf("one after the other ran, MaxRunning = %d", n)
		}
		mustLaunch(t, c, "l")
		in := attached(t, e, benchKey)
		for i := range 3 {
			for j := range i {
				if _, err := in.Open(t.Context(), session(j)); err != nil {
					t.Fatal(err)
				}
			}
			for j := range i {
				if err := in.CloseSession(t.Context(), session(j).ID, session(j).UID); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := e.MaxSessions(); n != 2 {
			t.Errorf("MaxSessions = %d, want 2", n)
		}
	})
}

func TestContainerOfAnEarlierProcessIsReplaced(t *testing.T) {
	e := fake.NewEngine(fake.EngineOptions{Instant: true})
	e.PlantContainer(address, "p", "an earlier one", benchKey)
	in := attached(t, e, benchKey)
	all := e.Containers()
	if len(all) != 1 || all[0].PoolUID != "u" || all[0].Attached != 1 || all[0].Remote == "" {
		t.Errorf("Containers = %+v", all)
	}
	if all := e.Mirrors(); len(all) != 1 || !all[0].Whole {
		t.Errorf("Mirrors = %+v", all)
	}
	in.Close()
}

func TestUIDIsOneSessionsOnItsInstance(t *testing.T) {
	e := fake.NewEngine(fake.EngineOptions{Instant: true})
	in := attached(t, e, benchKey)
	if _, err := in.Open(t.Context(), session(0)); err != nil {
		t.Fatal(err)
	}
	key := benchKey
	key.Scope = "other"
	other := attached(t, e, key)
	s := session(0)
	s.ID = "somebody-else"
	if _, err := other.Open(t.Context(), s); err == nil {
		t.Error("a uid was given to two sessions of one instance")
	}
	if err := in.CloseSession(t.Context(), "s-0", s.UID); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(t.Context(), s); err != nil {
		t.Error(err)
	}
}
