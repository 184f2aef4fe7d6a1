package berth_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

// repositories returns what Repositories lists, by its Scope.
func (w *world) repositories() map[string]berth.RepositoryInfo {
	w.t.Helper()
	all := make(map[string]berth.RepositoryInfo)
	for r, err := range w.Repositories(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		all[r.Scope] = r
	}
	return all
}

// onlyInstance returns what Instances lists, which must be one.
func (w *world) onlyInstance() (only berth.InstanceInfo) {
	w.t.Helper()
	n := 0
	for in, err := range w.Instances(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		only = in
		n++
	}
	if n != 1 {
		w.t.Fatalf("%d instances", n)
	}
	return only
}

func TestInstanceInfoSaysWhereItIsAndWhy(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		machine := w.cloud.Machines()[0]
		in := w.onlyInstance()
		ready := in.Since
		want := berth.InstanceInfo{
			ID: machine.LaunchID, CloudID: machine.CloudID, Address: machine.Address,
			State: "ready", Slots: 10, Tasks: 1, Since: ready,
		}
		if in != want || machine.CloudID == "" || ready.IsZero() || ready.After(time.Now()) {
			t.Errorf("%+v, want %+v", in, want)
		}
		short := berth.InstanceInfo{ID: want.ID, CloudID: want.CloudID, Address: want.Address}
		if got := s.Info().Instance; got != short {
			t.Errorf("the session's: %+v, want %+v", got, short)
		}
		w.terminate(s)
		var states []string
		for range 20 * 60 { // until it was idle for too long
			in := w.instances()
			if len(in) == 0 {
				break
			}
			if now := w.onlyInstance(); now.State != "ready" {
				states = append(states, now.State)
				if now.Reason == "" || now.Tasks != 0 || !now.Since.After(ready) || now.CloudID != want.CloudID {
					t.Errorf("on its way out: %+v", now)
				}
			}
			after(time.Second)
		}
		if len(states) == 0 || states[len(states)-1] != "terminating" {
			t.Errorf("it went by the states %q", slices.Compact(states))
		}
	})
}

func TestRepositoryInfoNamesTheScope(t *testing.T) {
	cfg := berth.Config{ScopeFor: func(r berth.SessionRequest) string { return r.UserID }}
	inWorld(t, setup{Config: cfg}, func(t *testing.T, w *world) {
		w.create("t1", repoA)
		w.create("t2", repoA)
		r := asking("t3", repoA)
		r.UserID = runner
		s, err := w.CreateSession(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		got := w.repositories()
		if len(got) != 2 || got[wile].Tasks != 2 {
			t.Errorf("%+v", got)
		}
		want := berth.RepositoryInfo{
			Repository: s.Info().Repository, Scope: runner, Container: s.Info().Container, State: "ready",
			Instance: s.Info().Instance.ID, Tasks: 1,
		}
		if got[runner] != want {
			t.Errorf("%+v, want %+v", got[runner], want)
		}
	})
}

// TestRepositoryInfoOfEachState sees a container start, serve, get lost with its instance, and stop.
func TestRepositoryInfoOfEachState(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		is := func(state string, tasks int) {
			t.Helper()
			got := w.repositories()[""]
			if got.State != state || got.Tasks != tasks || got.Repository.Name() != "rocket" || got.Container.Name == "" {
				t.Errorf("%+v, want state %s and %d tasks", got, state, tasks)
			}
		}
		w.engine.Next(fake.Ensure, 1, fake.Fault{Delay: 20 * time.Second})
		c := w.creating(t.Context(), w.Provider, asking("t1", repoA))
		time.Sleep(20 * time.Second)
		w.pending(c, "its container starts")
		is("starting", 1)
		s := (<-c).s
		is("ready", 1)
		w.engine.Next(fake.Remove, 1, fake.Fault{Delay: 20 * time.Second})
		go w.TerminateSession(t.Context(), s.ID())
		after(10 * time.Second)
		is("stopping", 0)

		s = w.create("t2", repoA)
		w.engine.Next(fake.CloseSession, 1, fake.Fault{Delay: 90 * time.Second, Deaf: true}) // it is being ended meanwhile
		go w.TerminateSession(t.Context(), s.ID())
		time.Sleep(time.Second)
		w.cloud.Vanish(s.Info().Instance.ID)
		after(70 * time.Second)
		if in := w.onlyInstance(); in.State != "lost" || in.Reason == "" {
			t.Errorf("%+v", in)
		}
		is("lost", 1)
		after(time.Minute)
		if left := w.repositories(); len(left) != 0 {
			t.Errorf("%+v", left)
		}
		synctest.Wait()
		w.empty()
	})
}
