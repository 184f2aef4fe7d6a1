package session_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
)

// TestInstanceThatGetsAnotherAddress: every replica finds the containers and sessions of the instance at its new
// address.
func TestInstanceThatGetsAnotherAddress(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1, MaxInstances: 1}}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		s := w.Create("t", world.RepoA)
		there := world.Get(t, other, s.ID())
		all := map[string]*berth.Session{"the replica that made it": s, "the other one": there}
		works := func(when string) {
			t.Helper()
			for who, s := range all {
				began := time.Now()
				if err := s.Command(t.Context(), "true").Run(); err != nil {
					t.Errorf("%s, in %s, a command: %v", when, who, err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("%s, in %s, a command took %v", when, who, took)
				}
			}
		}
		works("before") // so that both are attached to the container
		for _, address := range []string{"tcp://10.0.9.1:2376", "tcp://10.0.9.2:2376"} {
			w.Cloud.Move(w.InstanceRecords()[0].ID, address)
			world.After(40 * time.Second)
			if got := w.InstanceRecords()[0].Address; got != address {
				t.Fatalf("the record says %s, and it is at %s", got, address)
			}
			works("at " + address)
		}
		for who, s := range all {
			select {
			case <-s.Done():
				t.Errorf("in %s the session has ended: %v", who, s.Err())
			default:
			}
		}
		if next := w.Create("next", world.RepoA); next.Info().Start != berth.StartAttached {
			t.Errorf("the next task starts %s", next.Info().Start)
		}
		for _, p := range []*berth.Provider{w.Provider, other} {
			n := p.Stats()
			if n.Containers.ContainersLost != 0 || n.Pool.InstancesLost != 0 {
				t.Errorf("the statistics count losses: %+v, %+v", n.Containers, n.Pool)
			}
		}
		if w.Cloud.Launches() != 1 || w.Engine.Starts(s.Info().Container.Name) != 1 {
			t.Errorf("%d machines and %d containers were started", w.Cloud.Launches(), w.Engine.Starts(s.Info().Container.Name))
		}
		for _, task := range w.OpenSessions() {
			if err := w.TerminateSession(t.Context(), task.ID); err != nil {
				t.Error(err)
			}
		}
		world.After(time.Second)
		w.Empty()
	})
}
