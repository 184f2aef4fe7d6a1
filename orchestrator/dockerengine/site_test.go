package dockerengine_test

import (
	"context"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
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

func newSite(t testing.TB, opts dockerengine.Options, at orchestrator.Endpoint) *site {
	t.Helper()
	return newLimitedSite(t, opts, at, orchestrator.Limits{}, 0)
}

// newLimitedSite makes a site whose container has limits, for a number of sessions.
func newLimitedSite(t testing.TB, opts dockerengine.Options, at orchestrator.Endpoint, limits orchestrator.Limits, sessions int) *site {
	t.Helper()
	s := &site{remote: gittest.NewSmartServer(t).Create("acme/widgets", gittest.Files(map[string]string{"README": "Widgets.\n"}))}
	repository, err := naming.ParseRepository(s.remote.URL())
	if err != nil {
		t.Fatal(err)
	}
	key := naming.Key{Repository: repository}
	s.spec = orchestrator.ContainerSpec{Name: key.ContainerName(at.Pool), Key: key, Image: testenv.Image(t), Limits: limits, Sessions: sessions, Egress: gittest.Egress()}
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
func (s *site) open(t testing.TB) {
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
	open.URL, open.Proven = s.remote.URL(), true
	if s.work, err = s.in.Open(t.Context(), open); err != nil {
		t.Fatalf("Open: %v", err)
	}
}
