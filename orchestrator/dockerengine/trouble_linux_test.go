package dockerengine_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

func TestSecondEngine(t *testing.T) {
	const launch = "launch-of-the-second-engine"
	d := testenv.StartSecondEngine(t, testenv.SecondEngineOptions{Label: "berth.launch=" + launch, Args: []string{"--mtu", "1400"}})
	at := orchestrator.Endpoint{Pool: "trouble", PoolUID: "one", Launch: launch, Address: d.Address}
	t.Run("its MTU is that of its containers", func(t *testing.T) { testMTU(t, d, at) })
	t.Run("it may be in trouble", func(t *testing.T) { testTrouble(t, d, at) })
}

func testTrouble(t *testing.T, d *testenv.SecondEngine, at orchestrator.Endpoint) {
	wrong := at
	wrong.Launch = "another"
	if _, err := dockerengine.New(dockerengine.Options{}).Connect(t.Context(), wrong); !errors.Is(err, orchestrator.ErrWrongHost) {
		t.Errorf("connecting to an engine of another launch: %v", err)
	}

	// The caller gives no deadline, so that the engine's own apply.
	opts := dockerengine.Options{Logger: testLogger(t), CallTimeout: 2 * time.Second, StartTimeout: 30 * time.Second}
	s := newSite(t, opts, at)
	s.hang(t, d, opts, at)
	s.restart(t, d)
}

// hang stops the engine for a while. It checks that every call has a deadline, and that everything works again afterwards.
func (s *site) hang(t *testing.T, d *testenv.SecondEngine, opts dockerengine.Options, at orchestrator.Endpoint) {
	t.Helper()
	p, err := s.in.Start(t.Context(), agent.Command{Session: session.ID, Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	short := dockerengine.Options{CallTimeout: time.Second, StartTimeout: 2 * time.Second}
	other, err := dockerengine.New(short).Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	d.Hang()
	second := s.spec
	second.Name += "-2"
	ctx := context.Background()
	var all sync.WaitGroup
	for what, call := range map[string]func() error{
		"Probe":        func() error { return other.Probe(ctx) },
		"List":         func() error { _, err := other.List(ctx); return err },
		"Ensure":       func() error { _, err := other.Ensure(ctx, second, nil); return err },
		"Attach":       func() error { _, err := other.Attach(ctx, s.spec.Name); return err },
		"Remove":       func() error { return other.Remove(ctx, s.spec.Name, "") },
		"RemoveMirror": func() error { return other.RemoveMirror(ctx, s.spec.Name) },
		"Purge":        func() error { return other.Purge(ctx) },
		"Connect":      func() error { _, err := dockerengine.New(short).Connect(ctx, at); return err },
	} {
		all.Go(func() {
			if err := within(time.Minute, call); err == nil || errors.Is(err, errSlow) {
				t.Errorf("%s on an engine that hangs: %v", what, err)
			}
		})
	}
	all.Wait()
	d.Resume()
	if sessions, err := s.in.Sessions(t.Context()); err != nil || sessions[session.ID] != session.UID {
		t.Errorf("after the engine hung, Sessions returned %v, %v", sessions, err)
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Errorf("after the engine hung, Kill: %v", err)
	}
	if exit, err := p.Wait(); err != nil || exit.Signal != 9 {
		t.Errorf("after the engine hung, Wait returned %+v, %v", exit, err)
	}
}

// restart kills the engine and starts it again. Without live-restore its containers end.
func (s *site) restart(t *testing.T, d *testenv.SecondEngine) {
	t.Helper()
	p, err := s.in.Start(t.Context(), agent.Command{Session: session.ID, Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	d.Kill()
	if err := within(time.Minute, func() error { return s.host.Probe(context.Background()) }); err == nil || errors.Is(err, errSlow) {
		t.Errorf("probing an engine that was killed: %v", err)
	}
	d.Start()
	err = within(time.Minute, func() error { _, err := p.Wait(); return err })
	if !errors.Is(err, agent.ErrGone) {
		t.Errorf("after the engine was restarted, Wait: %v", err)
	}
	if err := s.in.Err(); !errors.Is(err, agent.ErrGone) {
		t.Errorf("after the engine was restarted, Err: %v", err)
	}
	before, err := s.host.List(t.Context())
	if err != nil || len(before.Containers) != 1 || before.Containers[0].Running {
		t.Errorf("after the engine was restarted, List returned %+v, %v; want one that does not run", before, err)
	}
	s.open(t)
}

var errSlow = errors.New("it did not return")

// within returns the error of a call, or errSlow if the call takes longer than limit.
func within(limit time.Duration, call func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- call() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(limit):
		return errSlow
	}
}
