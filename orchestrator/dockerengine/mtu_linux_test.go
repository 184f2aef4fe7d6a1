package dockerengine_test

import (
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// testMTU checks all ways to set an engine's MTU, and that a changed MTU applies to the next container. The engine was started
// with --mtu 1400, and holds nothing else.
func testMTU(t *testing.T, d *testenv.SecondEngine, at orchestrator.Endpoint) {
	at.Pool = "mtu"
	s := newSite(t, dockerengine.Options{Logger: testLogger(t)}, at)
	mtu := func() string {
		t.Helper()
		return strings.TrimSpace(s.output(t, "cat", "/sys/class/net/eth0/mtu"))
	}
	s.allIsListed(t, d.Address)
	if got := mtu(); got != "1400" {
		t.Errorf("on an engine that was started with --mtu 1400, a container has %s", got)
	}
	if n := s.networks(t); len(n) != 1 || !n[0].InUse {
		t.Errorf("there are the networks %+v; want one, in use", n)
	}
	for _, config := range []struct{ mtu, json string }{
		{"1300", `{"mtu": 1300}`},
		{"1500", `{}`},
	} {
		d.Kill()
		d.Configure(config.json)
		d.Start()
		if err := s.host.Remove(t.Context(), s.spec.Name, ""); err != nil {
			t.Fatal(err)
		}
		s.open(t)
		if got := mtu(); got != config.mtu {
			t.Errorf("on an engine with %s, a container has %s; want %s", config.json, got, config.mtu)
		}
		networks := s.networks(t)
		if len(networks) != 2 {
			t.Errorf("there are the networks %+v; want the new one and the one before", networks)
		}
		for _, n := range networks { // as a sweep does
			if !n.InUse {
				if err := s.host.RemoveResource(t.Context(), n); err != nil {
					t.Error(err)
				}
			}
		}
		if left := s.networks(t); len(left) != 1 || !left[0].InUse {
			t.Errorf("after a sweep there are the networks %+v; want one, in use", left)
		}
	}
	if err := s.host.Purge(t.Context()); err != nil {
		t.Error(err)
	}
	if left := all(t, d.Address); len(left) != 0 {
		t.Errorf("after Purge the engine has %v", left)
	}
}

// networks returns the networks of the pool.
func (s *site) networks(t *testing.T) (networks []orchestrator.Resource) {
	t.Helper()
	held, err := s.host.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range held.Resources {
		if r.Kind == "network" {
			networks = append(networks, r)
		}
	}
	return networks
}
