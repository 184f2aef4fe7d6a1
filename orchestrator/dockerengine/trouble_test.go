package dockerengine_test

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/gittest"
	"github.com/berth-go/berth/internal/testenv"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// site is a container with an open session.
type site struct {
	host   orchestrator.Host
	spec   orchestrator.ContainerSpec
	in     orchestrator.Inside
	remote *gittest.Remote
	work   agent.Checkout
}

var session = agent.Session{
	ID: "s1", UID: 20001, Dir: "widgets",
	Author: agent.Author{Name: "Ann", Email: "ann@example.org"},
	Env:    map[string]string{"TOKEN": "env-s3cret"},
}

func newSite(t *testing.T, opts dockerengine.Options, at orchestrator.Endpoint) *site {
	t.Helper()
	s := &site{remote: gittest.NewSmartServer(t).Create("acme/widgets", gittest.Files(map[string]string{"README": "Widgets.\n"}))}
	repository, err := naming.ParseRepository(s.remote.URL())
	if err != nil {
		t.Fatal(err)
	}
	key := naming.Key{Repository: repository}
	s.spec = orchestrator.ContainerSpec{Name: key.ContainerName(at.Pool), Key: key, Image: testenv.Image(t)}
	if s.host, err = dockerengine.New(opts).Connect(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.host.Purge(ctx); err != nil {
			t.Errorf("Purge: %v", err)
		}
		s.host.Close()
	})
	s.open(t)
	return s
}

// open makes the container run, with a session in it.
func (s *site) open(t *testing.T) {
	t.Helper()
	if _, err := s.host.Ensure(t.Context(), s.spec, nil); err != nil {
		t.Fatalf("Ensure: %v", err)
	}
	var err error
	if s.in, err = s.host.Attach(t.Context(), s.spec.Name); err != nil {
		t.Fatalf("Attach: %v", err)
	}
	fetch := agent.Fetch{URL: s.remote.URL(), Username: "ann", Password: "fetch-s3cret"}
	if _, err := s.in.Fetch(t.Context(), fetch, nil); err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	open := session
	open.URL = s.remote.URL()
	if s.work, err = s.in.Open(t.Context(), open); err != nil {
		t.Fatalf("Open: %v", err)
	}
}

func TestEngineInTrouble(t *testing.T) {
	const launch = "launch-of-the-second-engine"
	d := startDaemon(t, "berth.launch="+launch)
	at := orchestrator.Endpoint{Pool: "trouble", PoolUID: "one", Launch: launch, Address: d.address}

	wrong := at
	wrong.Launch = "another"
	if _, err := dockerengine.New(dockerengine.Options{}).Connect(t.Context(), wrong); !errors.Is(err, orchestrator.ErrWrongHost) {
		t.Errorf("connecting to an engine of another launch: %v", err)
	}

	// With no deadline of the caller's, the engine's own count.
	opts := dockerengine.Options{Logger: testLogger(t), CallTimeout: 2 * time.Second, StartTimeout: 30 * time.Second}
	s := newSite(t, opts, at)
	s.hang(t, d, opts, at)
	s.restart(t, d)
}

// hang stops the engine for a while: everything has a deadline, and afterwards all is as it was.
func (s *site) hang(t *testing.T, d *daemon, opts dockerengine.Options, at orchestrator.Endpoint) {
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
	d.signal(syscall.SIGSTOP)
	second := s.spec
	second.Name += "-2"
	ctx := context.Background()
	var all sync.WaitGroup
	for what, call := range map[string]func() error{
		"Probe":        func() error { return other.Probe(ctx) },
		"List":         func() error { _, err := other.List(ctx); return err },
		"Ensure":       func() error { _, err := other.Ensure(ctx, second, nil); return err },
		"Attach":       func() error { _, err := other.Attach(ctx, s.spec.Name); return err },
		"Remove":       func() error { return other.Remove(ctx, s.spec.Name) },
		"RemoveMirror": func() error { return other.RemoveMirror(ctx, s.spec.Name) },
		"Purge":        func() error { return other.Purge(ctx) },
		"Connect":      func() error { _, err := dockerengine.New(short).Connect(ctx, at); return err },
	} {
		all.Go(func() {
			if err := within(15*time.Second, call); err == nil || errors.Is(err, errSlow) {
				t.Errorf("%s on an engine that hangs: %v", what, err)
			}
		})
	}
	all.Wait()
	d.signal(syscall.SIGCONT)
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

// restart kills the engine and starts it again. Without live-restore that ends its containers.
func (s *site) restart(t *testing.T, d *daemon) {
	t.Helper()
	p, err := s.in.Start(t.Context(), agent.Command{Session: session.ID, Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	d.kill()
	if err := within(15*time.Second, func() error { return s.host.Probe(context.Background()) }); err == nil || errors.Is(err, errSlow) {
		t.Errorf("probing an engine that was killed: %v", err)
	}
	d.start()
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
